"""Reading files: what libsndfile and FFmpeg give, and errors of broken ones; see also `test_codecs.py`."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.errors import AudioError
from tests.audio.signals import encode_libav, encode_video, gather, noise, pitches, snr, tones

RATE = 48000
REMEDY = "get a complete copy of the file, or export it again from an audio editor"


def save(path: Path, samples: Tensor, rate: int = RATE, **options) -> Path:
    # Absolute, because soundfile takes "-" for standard output.
    soundfile.write(path.absolute(), samples.T.numpy(), rate, **options)
    return path


def refused(path: Path, **options) -> str:
    """Error message of opening and reading `path`."""
    with pytest.raises(AudioError) as caught:
        gather(audio.open(path, **options))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


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


# --- broken files


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


@pytest.mark.parametrize(
    ("name", "subtype"), [("song.wav", "PCM_16"), ("song.ogg", None), ("song.mp3", None)]
)
def test_a_file_cut_short_gives_what_is_there(tmp_path: Path, capfd, name: str, subtype: str | None):
    samples = tones(RATE, 4.0)
    got = gather(audio.open(cut(save(tmp_path / name, samples, subtype=subtype), 0.5)))
    # A page of Ogg holds up to a second.
    assert 0.2 * samples.shape[1] < got.shape[1] <= 0.6 * samples.shape[1]
    assert snr(got[:, :-3000], samples) > 15
    assert capfd.readouterr() == ("", "")


def test_a_webm_cut_short_gives_what_is_there(tmp_path: Path):
    samples = tones(RATE, 4.0)
    encode_libav(tmp_path / "song.webm", [samples], RATE, "libopus", "webm")
    got = gather(audio.open(cut(tmp_path / "song.webm", 0.5)))
    assert 0.3 * samples.shape[1] < got.shape[1] < 0.6 * samples.shape[1]
    assert snr(got[:, 1000:-3000], samples[:, 1000:]) > 30


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_flac_cut_short_gives_every_whole_frame(tmp_path: Path, part: float):
    samples = noise(4 * RATE)
    source = audio.open(cut(save(tmp_path / "song.flac", samples), part))
    got = gather(source)
    assert 4 * part * RATE - 2 * 4096 < got.shape[1] < 4 * part * RATE
    assert (got - samples[:, : got.shape[1]]).abs().max() < 2**-15
    assert source.warnings == [
        f"{tmp_path / 'song.flac'} ends early, at {got.shape[1] / RATE:.1f} s of 4.0 s; {REMEDY}"
    ]


ENDS: dict[str, dict[str, Any]] = {
    "song.wav": {},
    "song.aiff": {},
    "song.au": {},
    "song.ogg": {},
    "song.opus": {"format": "OGG", "subtype": "OPUS"},
    "song.mp3": {},
    "song.flac": {},
    "song.m4a": {"codec": "aac", "container": "ipod", "format_options": {"movflags": "faststart"}},
    "song.webm": {"codec": "libopus", "container": "webm"},
    "song.mka": {"codec": "flac", "container": "matroska"},
    "song.wma": {"codec": "wmav2", "container": "asf"},
    "song.aac": {"codec": "aac", "container": "adts"},
}


@pytest.mark.parametrize("name", ENDS)
def test_a_file_that_ends_early_says_so(tmp_path: Path, name: str):
    path = tmp_path / name
    if "codec" in ENDS[name]:
        encode_libav(path, [noise(6 * RATE)], RATE, **ENDS[name])
    else:
        save(path, noise(6 * RATE), **ENDS[name])
    source = audio.open(path)
    length = gather(source).shape[1]
    assert source.warnings == []
    source = audio.open(cut(path, 0.47))
    for _ in range(2):
        second = gather(source).shape[1] / RATE
        assert 1.5 < second < 3
        assert len(source.warnings) == 1
    stated = f"at {second:.1f} s of {length / RATE:.1f} s"
    unknown = f"at {second:.1f} s without a proper end"
    assert (unknown if path.suffix in (".ogg", ".opus", ".wma", ".aac") else stated) in source.warnings[0]
    # A part that was found by seeking notices it, too.
    again = audio.open(path)
    again.read(RATE, 9 * RATE)
    assert again.warnings == source.warnings


def test_no_warning_where_nothing_states_a_length(tmp_path: Path):
    path = save(tmp_path / "song.mp3", noise(6 * RATE), bitrate_mode="VARIABLE", compression_level=0.3)
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\xff\xfb", data.index(b"Xing")) :])
    source = audio.open(path)
    gather(source)
    assert source.warnings == []


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path: Path, size: int):
    path = save(tmp_path / "song.wav", noise(RATE))
    data = path.read_bytes()
    path.write_bytes(
        data[:4] + size.to_bytes(4, "little") + data[8:40] + size.to_bytes(4, "little") + data[44:]
    )
    source = audio.open(path)
    assert gather(source).shape[1] == RATE
    assert source.warnings == []


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(
    ("stated", "behind"), [("wrapped", 0), ("wrapped", 100), ("unknown", 0), ("zero", 0)]
)
def test_a_wav_beyond_4_gib_is_read_to_its_end(tmp_path: Path, subtype: str, stated: str, behind: int):
    path = save(tmp_path / "song.wav", noise(10), subtype=subtype)
    frame = {"PCM_16": 4, "PCM_24": 6, "FLOAT": 8}[subtype]
    head = path.read_bytes()
    place = head.index(b"data") + 8
    samples = head[place : place + 10 * frame]
    length = 2**32 // frame + 100_000
    size = {"wrapped": length * frame % 2**32, "unknown": 2**32 - 1, "zero": 0}[stated]
    with path.open("wb") as file:
        file.write(head[: place - 4] + size.to_bytes(4, "little"))
        # A hole: it takes no room on the disk.
        file.seek(place + (length - 10) * frame)
        file.write(samples + b"\1" * behind)
    source = audio.open(path)
    assert (source.length, source.warnings) == (length, [])
    end = source.read(length - 20, 100)
    assert end.shape == (2, 20)
    assert not end[:, :10].any()
    assert (end[:, 10:] - noise(10)).abs().max() < 2**-15


@pytest.mark.parametrize("middle", [0.3, 0.6])
def test_damage_in_a_flac_is_reported_at_its_place(tmp_path: Path, middle: float):
    path = save(tmp_path / "song.flac", noise(10 * RATE))
    data = bytearray(path.read_bytes())
    data[int(middle * len(data))] ^= 16
    path.write_bytes(data)
    second = float(refused(path).partition("damaged at ")[2].partition(" s")[0])
    assert second == pytest.approx(10 * middle, abs=0.15)


def test_an_m4a_cut_short_is_an_error(tmp_path: Path):
    encode_libav(tmp_path / "song.m4a", [tones(RATE, 2.0)], RATE, "aac", "ipod")
    assert "damaged" in refused(cut(tmp_path / "song.m4a", 0.5))


@pytest.mark.parametrize("name", ["song.flac", "song.m4a", "song.mp3"])
def test_a_hole_in_the_middle_is_an_error(tmp_path: Path, name: str):
    path = tmp_path / name
    if name.endswith("m4a"):
        encode_libav(path, [noise(4 * RATE)], RATE, "aac", "ipod")
    else:
        save(path, noise(4 * RATE))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(data)
    assert "damaged at" in refused(path)


def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path: Path):
    samples = torch.cat([noise(5 * RATE, level=0.001), noise(5 * RATE, level=0.5)], dim=1)
    path = save(tmp_path / "song.mp3", samples, bitrate_mode="VARIABLE", compression_level=0.2)
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\xff\xfb", data.index(b"Xing")) :])
    assert gather(audio.open(path)).shape[1] >= samples.shape[1]


def test_a_flac_without_a_length_is_read_to_its_end(tmp_path: Path):
    path = save(tmp_path / "song.flac", tones(RATE, 0.5))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the length is the low 36 bits of the STREAMINFO's bytes 10 to 17
    data[22:26] = bytes(4)
    path.write_bytes(data)
    source = audio.open(path)
    assert source.length is None
    assert snr(gather(source), tones(RATE, 0.5)) > 80


def test_a_change_of_rate_is_an_error(tmp_path: Path):
    low = save(tmp_path / "low.mp3", tones(22050, 2.0), 22050).read_bytes()
    high = save(tmp_path / "high.mp3", tones(44100, 2.0), 44100).read_bytes()
    (tmp_path / "both.mp3").write_bytes(high + low)
    assert "from 2 channels at 44100 Hz to 2 at 22050 Hz" in refused(tmp_path / "both.mp3")


@pytest.mark.parametrize("rate", [3, 999, 768_001, 2**31 - 1])
def test_a_sample_rate_that_no_audio_has(tmp_path: Path, rate: int):
    path = save(tmp_path / "song.wav", noise(100))
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)
    assert f"sample rate of {rate} Hz" in refused(path)


# --- not audio


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
