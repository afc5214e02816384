"""Damaged files: what ends early is read as far as it goes, with a warning; holes are an error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdemucs import audio
from tests.audio.signals import encode_libav, gather, noise, refused, save, snr, tones

RATE = 48000
REMEDY = "get a complete copy of the file, or export it again from an audio editor"


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
