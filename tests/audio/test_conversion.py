"""Sources turned into a model's input, and samples that must be refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hdemucs import audio
from hdemucs.errors import AudioError
from tests.audio.signals import gather, noise, pitches, snr, tones


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_source_fits_a_model(rate: int, channels: int):
    lowest = 300.0
    source = audio.from_samples(tones(rate, 1.0, channels, lowest), rate)
    got = gather(audio.convert(source, 44100, 2))
    assert got.shape == (2, 44100)
    left, right = pitches(got, 44100)
    assert left == pytest.approx(lowest, abs=2)
    assert right == pytest.approx(min(channels, 2) * lowest, abs=2)


def test_the_order_of_the_steps_does_not_change_the_sound():
    stereo = tones(48000, 1.0)
    got = gather(audio.convert(audio.from_samples(stereo, 48000), 44100, 1))
    wanted = tones(44100, 1.0).mean(dim=0, keepdim=True)
    assert snr(got[:, 2000:-2000], wanted[:, 2000:-2000]) > 70


def test_what_fits_already_is_unchanged():
    samples = noise(100_000)
    assert torch.equal(gather(audio.convert(audio.from_samples(samples, 44100), 44100, 2)), samples)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 70_000, 99_999])
def test_a_bad_sample_is_named_by_its_second(tmp_path: Path, value: float, place: int):
    samples = np.zeros((100_000, 2), np.float32)
    samples[place:, 1] = value
    path = tmp_path / "song.wav"
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"NaN or infinite at {place / 8000:.3f} s") as caught:
        gather(audio.convert(audio.open(path), 44100, 2))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_source_is_an_error(tmp_path: Path):
    for name in ["empty.wav", "empty.aiff"]:
        soundfile.write(tmp_path / name, np.zeros((0, 2)), 44100)
        with pytest.raises(AudioError, match=f"{name} has no audio"):
            gather(audio.convert(audio.open(tmp_path / name), 44100, 2))
    with pytest.raises(AudioError, match="<samples> has no audio"):
        gather(audio.convert(audio.from_samples(np.zeros((2, 0)), 44100), 44100, 2))


def test_one_sample_and_silence_are_audio():
    assert gather(audio.convert(audio.from_samples([0.5], 44100), 44100, 2)).tolist() == [[0.5], [0.5]]
    silence = gather(audio.convert(audio.from_samples(np.zeros((2, 4800)), 48000), 44100, 2))
    assert silence.shape == (2, 4410)
    assert not silence.any()


def test_more_channels_than_a_model_takes():
    with pytest.raises(AudioError, match="6 channels cannot be turned into 4"):
        gather(audio.convert(audio.from_samples(noise(10, 6), 44100), 44100, 4))


@settings(deadline=None)
@given(
    rates=st.sampled_from([(44100, 44100), (48000, 44100), (8000, 44100), (44100, 8000)]),
    channels=st.integers(1, 2),
    length=st.integers(0, 5000),
    start=st.integers(0, 6000),
    count=st.integers(0, 3000),
)
def test_a_part_equals_that_of_the_whole(
    rates: tuple[int, int], channels: int, length: int, start: int, count: int
):
    source = audio.from_samples(noise(1 + length, channels), rates[0])
    blocks = audio.resample((audio.remix(block, 2) for block in source.blocks()), *rates)
    whole = torch.cat([torch.empty(2, 0), *blocks], -1)  # a single sample may vanish at a lower rate
    part = audio.convert_part(source, start, count, rates[1], 2)
    torch.testing.assert_close(part, whole[:, start : start + count], atol=1e-6, rtol=0)
