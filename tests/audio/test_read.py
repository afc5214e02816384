"""Parts of files, found by seeking, compared with the same part of a decode from the start."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdemucs import audio
from hdemucs.audio import from_samples
from hdemucs.errors import AudioError
from tests.audio.signals import encode_libav, gather, noise, snr, tones

RATE = 44100
SECONDS = 12  # several times the pre-roll of any codec


def song() -> Tensor:
    """Tones with growing noise, and a silence, which makes long pages in Ogg."""
    samples = 0.4 * tones(RATE, SECONDS) + noise(SECONDS * RATE) * torch.linspace(0.1, 1, SECONDS * RATE)
    samples[:, 6 * RATE : 9 * RATE] = 0
    return samples


def without_xing(path: Path, magic: bytes) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\xff\xfb", data.index(magic)) :])
    return path


def write(folder: Path, kind: str) -> tuple[Path, int]:
    """Write a file of some kind; returns it and the stream to read."""
    path = folder / kind
    container, _, codec = kind.partition(" ")
    if container == "mp3":
        mode = "CONSTANT" if "constant" in codec else "VARIABLE"
        soundfile.write(path, song().T.numpy(), RATE, format="MP3", bitrate_mode=mode, compression_level=0.3)
        if "bare" in codec:
            without_xing(path, b"Info" if mode == "CONSTANT" else b"Xing")
        return path, 0
    if container.isupper():
        soundfile.write(path, song().T.numpy(), RATE, format=container, subtype=codec)
        return path, 0
    if container == "stem.mp4":
        streams = [song() * gain for gain in (1.0, 0.1, 0.2, 0.3, 0.4)]
        encode_libav(path, streams, RATE, "aac", "mp4", options={"aac_pns": "0"})
        return path, 3
    options = {"aac_pns": "0"} if codec == "aac" else {}
    encode_libav(path, [song()], RATE, codec, container, options=options)
    return path, 0


@pytest.mark.parametrize(
    "kind",
    [
        "WAV PCM_16",
        "WAV PCM_24",
        "WAV FLOAT",
        "WAV IMA_ADPCM",
        "AIFF PCM_16",
        "CAF ALAC_16",
        "FLAC PCM_16",
        "OGG VORBIS",
        "mp3 constant",
        "mp3 variable",
        "mp3 constant, bare",
        "mp3 variable, bare",
        "ipod aac",
        "ipod alac",
        "stem.mp4",
        "adts aac",
        "matroska flac",
        "asf wmav2",
    ],
)
def test_a_part_equals_that_of_the_whole(tmp_path: Path, kind: str):
    path, stream = write(tmp_path, kind)
    source = audio.open(path, stream=stream)
    whole = gather(source)
    end = whole.shape[-1]
    places = [0, 1, 1105, 65535, 65537, 70001, 5 * RATE + 17, 8 * RATE, 10 * RATE + 1]
    for start in [*places, end - 5000, end - 700, end - 1, end, end + 10]:
        part = source.read(start, 3000)
        assert torch.equal(part, whole[:, start : start + 3000]), start
    assert torch.equal(source.read(70000, 3 * RATE), whole[:, 70000 : 70000 + 3 * RATE])
    assert source.read(7, 0).shape == (2, 0)


def test_a_part_of_opus(tmp_path: Path):
    path = tmp_path / "song.opus"
    soundfile.write(path, song().T.numpy(), 48000, format="OGG", subtype="OPUS")
    source = audio.open(path)
    whole = gather(source)
    for start in [90166, 399054, 418253]:
        assert torch.equal(source.read(start, 3000), whole[:, start : start + 3000])


def test_a_part_of_a_long_vorbis(tmp_path: Path):
    """Long enough for seeking: its last pages, up to 24 s of them, are always read in order."""
    path = tmp_path / "song.ogg"
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        for second in torch.cat([song(), song(), song()], -1).split(RATE, -1):
            file.write(second.T.numpy())  # libsndfile's encoder overflows the stack on long writes
    source = audio.open(path)
    whole = gather(source)
    for start in [1, 4 * RATE + 17, 7 * RATE, 11 * RATE, 12 * RATE + 3, whole.shape[-1] - 2000]:
        assert torch.equal(source.read(start, 3000), whole[:, start : start + 3000]), start


def test_parts_of_aac_differ_only_in_noise_from_the_decoder(tmp_path: Path):
    path = tmp_path / "song.m4a"
    samples = 0.4 * tones(RATE, SECONDS) + 0.02 * noise(SECONDS * RATE)
    encode_libav(path, [samples], RATE, "aac", "ipod", options={"aac_pns": "1"})
    source = audio.open(path)
    part = source.read(5 * RATE + 17, 3000)
    assert snr(part, gather(source)[:, 5 * RATE + 17 :]) > 35
    assert torch.equal(part, source.read(5 * RATE + 17, 3000))


@settings(deadline=None)
@given(length=st.integers(0, 300), start=st.integers(0, 400), count=st.integers(0, 400))
def test_a_part_of_samples_in_memory(length: int, start: int, count: int):
    samples = noise(length, 2)
    assert torch.equal(from_samples(samples, RATE).read(start, count), samples[:, start : start + count])


def test_negative_places_are_refused():
    source = from_samples(noise(10), RATE)
    for start, length in [(-1, 5), (5, -1)]:
        with pytest.raises(ValueError, match=f"must not be negative: {start}, {length}"):
            source.read(start, length)


@pytest.mark.parametrize("name", ["song.flac", "song.mp3"])
def test_damage_is_reported_only_for_parts_that_have_it(tmp_path: Path, name: str):
    path = tmp_path / name
    soundfile.write(path, noise(SECONDS * RATE).T.numpy(), RATE)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(data)
    source = audio.open(path)
    assert source.read(RATE, RATE).shape == (2, RATE)
    with pytest.raises(AudioError, match=r"damaged at 5\.\d|damaged at 6\.\d"):
        source.read(5 * RATE, 2 * RATE)


def test_ffmpeg_is_loaded_only_for_files_that_need_it(tmp_path: Path):
    soundfile.write(tmp_path / "song.wav", noise(1000).T.numpy(), RATE)
    soundfile.write(tmp_path / "song.mp3", noise(9000).T.numpy(), RATE)
    program = f"""
import sys
import hdemucs.separator
from hdemucs import audio
next(audio.open({str(tmp_path / "song.wav")!r}).blocks())
assert "av" not in sys.modules
next(audio.open({str(tmp_path / "song.mp3")!r}).blocks())
assert "av" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
