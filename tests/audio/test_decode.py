"""Reading files: what libsndfile and FFmpeg give, and what is not audio; see also `test_damage.py`."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hdemucs import audio
from hdemucs.errors import AudioError
from tests.audio.signals import encode_libav, encode_video, gather, noise, pitches, refused, save, snr, tones

RATE = 48000


@pytest.mark.parametrize(
    ("container", "subtype", "fidelity"),
    [
        ("WAV", "PCM_16", 80),
        ("WAV", "PCM_24", 120),
        ("WAV", "PCM_U8", 35),
        ("WAV", "FLOAT", 140),
        ("WAV", "IMA_ADPCM", 20),
        ("RF64", "PCM_16", 80),
        ("AIFF", "PCM_16", 80),
        ("FLAC", "PCM_16", 80),
        ("FLAC", "PCM_24", 120),
        ("OGG", "VORBIS", 15),
        ("OGG", "OPUS", 20),
        ("MP3", "MPEG_LAYER_III", 30),
        ("CAF", "ALAC_16", 80),
    ],
)
def test_files_by_libsndfile(tmp_path: Path, container: str, subtype: str, fidelity: float):
    samples = tones(RATE, 1.0)
    source = audio.open(save(tmp_path / "song.bin", samples, format=container, subtype=subtype))
    assert (source.sample_rate, source.channels, source.streams) == (RATE, 2, 1)
    got = gather(source)
    assert got.dtype == torch.float32
    # IMA ADPCM fills its last block.
    assert samples.shape[1] <= got.shape[1] <= samples.shape[1] + 1024
    # The header of an MP3 may count its padding.
    assert source.length == pytest.approx(got.shape[1], abs=2048)
    assert snr(got, samples) > fidelity


@pytest.mark.parametrize(
    ("name", "codec", "container", "fidelity"),
    [
        ("song.m4a", "aac", "ipod", 30),
        ("song.m4a", "alac", "ipod", 75),
        ("song.webm", "libopus", "webm", 30),
        ("song.mka", "flac", "matroska", 75),
        ("song.avi", "pcm_s16le", "avi", 75),
    ],
)
def test_files_by_ffmpeg(tmp_path: Path, name: str, codec: str, container: str, fidelity: float):
    samples = tones(RATE, 1.0)
    path = tmp_path / name
    encode_libav(path, [samples], RATE, codec, container)
    source = audio.open(path)
    assert (source.sample_rate, source.channels, source.streams) == (RATE, 2, 1)
    got = gather(source)
    assert samples.shape[1] - 1024 <= got.shape[1] <= samples.shape[1] + 4096
    # None comes late: these formats say how many samples their encoder put in front.
    assert snr(got[:, 1000:-4000], samples[:, 1000:]) > fidelity


def test_eight_channels_by_ffmpeg(tmp_path: Path):
    path = tmp_path / "song.mka"
    encode_libav(path, [tones(RATE, 1.0, 8, lowest=200)], RATE, "aac", "matroska")
    source = audio.open(path)
    assert source.channels == 8
    assert pitches(gather(source)[:, 4000:44000], RATE)[:3] == pytest.approx([200, 400, 600], abs=4)


def test_the_five_streams_of_a_stem_file(tmp_path: Path):
    path = tmp_path / "song.stem.mp4"
    lowest = [300.0, 500.0, 700.0, 900.0, 1100.0]
    encode_libav(path, [tones(44100, 0.5, 2, pitch) for pitch in lowest], 44100, "aac", "mp4")
    for stream, pitch in enumerate(lowest):
        source = audio.open(path, stream=stream)
        assert source.streams == 5
        assert pitches(gather(source)[:, 4410:17640], 44100) == pytest.approx([pitch, 2 * pitch], abs=4)
    assert "no audio stream 5; it has 5 audio streams, 0 to 4" in refused(path, stream=5)
    assert "no audio stream -1" in refused(path, stream=-1)


def test_a_wav_has_one_stream(tmp_path: Path):
    path = save(tmp_path / "song.wav", tones(RATE, 0.1))
    assert "no audio stream 1; it has 1 audio stream, number 0" in refused(path, stream=1)


@pytest.mark.parametrize("name", ["song.wav", "song.mp3"])
def test_each_pass_starts_again(tmp_path: Path, name: str):
    source = audio.open(save(tmp_path / name, noise(30_000)))
    first = next(source.blocks(1000))
    assert first.shape == (2, 1000)
    assert torch.equal(gather(source), gather(source.blocks(777)))
    assert torch.equal(gather(source)[:, :1000], first)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_surround_ogg_is_read_in_the_channel_order_of_wav(tmp_path: Path, subtype: str):
    # Ogg's own order is front left, centre, front right, back left, back right, effects.
    samples = tones(RATE, 1.0, 6, lowest=20.0)[[0, 2, 1, 4, 5, 3]]
    source = audio.open(save(tmp_path / "song.ogg", samples, format="OGG", subtype=subtype))
    heard = pitches(gather(source), RATE)
    assert heard[:3] == pytest.approx([20, 40, 60], abs=2)
    assert heard[4:] == pytest.approx([100, 120], abs=2)


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (8, 192000)])
@pytest.mark.parametrize("name", ["song.wav", "song.flac"])
def test_few_and_many_channels_and_rates(tmp_path: Path, name: str, channels: int, rate: int):
    samples = noise(3000, channels)
    source = audio.open(save(tmp_path / name, samples, rate, subtype="PCM_24"))
    assert (source.sample_rate, source.channels) == (rate, channels)
    assert (gather(source) - samples).abs().max() < 2**-22


def test_one_sample_and_silence(tmp_path: Path):
    assert gather(audio.open(save(tmp_path / "one.wav", torch.full((2, 1), 0.5)))).tolist() == [[0.5], [0.5]]
    silence = gather(audio.open(save(tmp_path / "silence.flac", torch.zeros(2, 5000))))
    assert silence.shape == (2, 5000)
    assert not silence.any()


def test_tags(tmp_path: Path):
    tags = {
        "title": "Für Ännchen",
        "artist": "日本",
        "album": "A",
        "date": "1999",
        "genre": "Rock",
        "track": "3",
    }
    encode_libav(tmp_path / "song.m4a", [tones(RATE, 0.2)], RATE, "aac", "ipod", {**tags, "lyrics": "la"})
    assert audio.open(tmp_path / "song.m4a").tags == tags
    with soundfile.SoundFile(tmp_path / "song.flac", "w", RATE, 2) as file:
        file.title, file.tracknumber, file.copyright = "Für Ännchen", "3", "nobody"
        file.write(np.zeros((10, 2)))
    assert audio.open(tmp_path / "song.flac").tags == {"title": "Für Ännchen", "track": "3"}


def test_tags_that_cannot_be_decoded(tmp_path: Path):
    path = tmp_path / "song.m4a"
    encode_libav(path, [tones(RATE, 0.2)], RATE, "aac", "ipod", {"title": "Für"})
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xfc\xfc"))
    assert audio.open(path).tags == {"title": "F\ufffd\ufffdr"}


def test_a_name_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ["-", "song.raw", "http:song", "日本 %d.mp3"]:
        save(Path(name), tones(RATE, 0.1), format="WAV")
        assert gather(audio.open(name)).shape == (2, 4800)
    save(Path("other"), tones(RATE, 0.5), format="MP3")
    source = audio.open("other")
    monkeypatch.chdir("/")
    assert gather(source).shape == (2, 24000)


def test_paths_that_are_not_files(tmp_path: Path):
    assert "does not exist" in refused(tmp_path / "missing.mp3")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.mp3").touch()
    assert "is empty" in refused(tmp_path / "empty.mp3")
    assert "cannot be read" in refused(tmp_path / "empty.mp3" / "song.mp3")
    assert "cannot be read" in refused(tmp_path / ("x" * 300))
    assert "cannot be read" in refused(Path("nul\0byte"))
    assert "not a regular file" in refused(Path("/dev/null"))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(tmp_path / "song.wav", tones(RATE, 0.1))

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)  # the superuser may read anything
    assert "may not be read" in refused(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.mp3", b"These are not the samples you are looking for.\n" * 50),
        ("text.wav", b"RIFF and other words\n" * 50),
        ("letter.flac", b"f"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(1000)),
        (
            "list.m3u8",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        ),
        ("zeros.mp3", bytes(5000)),
    ],
)
def test_content_that_is_not_audio(tmp_path: Path, capfd, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert "audio" in message
    assert capfd.readouterr() == ("", "")


def test_a_video_without_audio(tmp_path: Path):
    encode_video(tmp_path / "film.mp4")
    assert "has no audio" in refused(tmp_path / "film.mp4")


def test_a_file_that_vanishes_between_passes(tmp_path: Path):
    for name in ["song.wav", "song.mp3"]:
        source = audio.open(save(tmp_path / name, noise(20_000)))
        gather(source)
        (tmp_path / name).unlink()
        with pytest.raises(AudioError, match=name):
            gather(source)


@pytest.mark.parametrize("name", ["song.flac", "song.mp3"])
def test_memory_does_not_grow_with_the_track(tmp_path: Path, name: str):
    path = save(tmp_path / name, tones(RATE, 40.0))  # 15 MB as float32
    source = audio.open(path)
    length = 0
    tracemalloc.start()
    try:
        for block in source.blocks(4096):
            assert block.shape[1] <= 4096
            length += block.shape[1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length == 40 * RATE
    assert peak < 4e6


def test_a_file_name_that_is_not_unicode(tmp_path: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    save(tmp_path / "song.wav", noise(1000)).rename(path)
    assert gather(audio.open(path)).shape == (2, 1000)
