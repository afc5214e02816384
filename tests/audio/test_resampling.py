"""Resampled streams compared with julius on the whole track, and tones that must be kept or removed."""

import random
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from julius.resample import resample_frac
from torch import Tensor

from hdemucs.audio import resample, resampling
from hdemucs.audio.resampling import rate_ratio
from hdemucs.errors import OptionError
from tests.audio.signals import gather, noise, snr, tones

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 37800, 44056, 44100, 47952, 48000]
RATES += [88200, 96000, 176400, 192000]
PAIRS = [(48000, 44100), (44100, 48000), (22050, 44100), (44100, 22050), (32000, 44100), (96000, 44100)]
PAIRS += [(5, 3), (3, 5), (192000, 44100), (8000, 44100)]


@settings(deadline=None, max_examples=60)
@given(
    rates=st.sampled_from(PAIRS),
    length=st.integers(1, 4000),
    size=st.sampled_from([1, 7, 500, 5000]),
    group=st.sampled_from([1, 900, 65536]),
)
def test_any_cut_equals_julius_on_the_whole(rates: tuple[int, int], length: int, size: int, group: int):
    track = noise(length)
    expected = resample_frac(track, *rates)
    with pytest.MonkeyPatch.context() as patch:
        # Short tracks would otherwise be a single group without seams.
        patch.setattr(resampling, "BLOCK_LENGTH", group)
        blocks = list(resample(track.split(size, dim=-1), *rates))
    assert all(block.shape[-1] >= 1 for block in blocks)
    got = torch.cat(blocks, -1) if blocks else torch.zeros(2, 0)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("old", "new"), [(48000, 44100), (44100, 96000), (47952, 44100), (37800, 44100)])
def test_a_long_track_has_no_seams(old: int, new: int):
    track = noise(300_000, 1)
    lengths = random.Random(0)
    cuts = [lengths.randint(1, 20_000) for _ in range(14)]
    blocks = track.split([*cuts, track.shape[-1] - sum(cuts)], dim=-1)
    got = gather(resample(blocks, old, new))
    torch.testing.assert_close(got, resample_frac(track, old, new), atol=1e-5, rtol=0)


@pytest.mark.parametrize("new", RATES)
def test_usual_rates_are_exact(new: int):
    for old in RATES:
        if 44056 not in (old, new):
            numerator, denominator = rate_ratio(old, new)
            assert numerator * new == denominator * old


@given(old=st.integers(1000, 400_000), new=st.integers(1000, 400_000))
def test_unusual_rates_keep_the_filters_small(old: int, new: int):
    numerator, denominator = rate_ratio(old, new)
    assert numerator * denominator <= 2**24
    assert abs(numerator * new / (denominator * old) - 1) < 1.25e-4


def test_44056_is_nearly_exact():
    numerator, denominator = rate_ratio(44056, 44100)
    assert abs(numerator * 44100 / (denominator * 44056) - 1) < 4e-8
    got = gather(resample([tones(44056, 1.0)], 44056, 44100))
    assert snr(got[:, 2000:-2000], tones(44100, 1.0)[:, 2000:-2000]) > 60


@pytest.mark.parametrize(("old", "new"), [(48000, 44100), (44100, 48000), (8000, 44100), (192000, 44100)])
def test_a_tone_is_kept(old: int, new: int):
    got = gather(resample(tones(old, 1.0).split(1000, dim=-1), old, new))
    wanted = tones(new, 1.0)
    assert got.shape == wanted.shape
    # At the edges the tone starts and stops abruptly, which no rate can hold exactly.
    assert snr(got[:, 2000:-2000], wanted[:, 2000:-2000]) > 70


def test_a_tone_above_the_new_nyquist_frequency_is_removed():
    track = tones(96000, 1.0, 1, lowest=20_000)
    got = gather(resample([track], 96000, 22050))
    assert got[:, 1000:-1000].abs().max() < 1e-3


def test_a_constant_stays_constant():
    got = gather(resample(torch.full((2, 5000), 0.7).split(333, dim=-1), 44100, 48000))
    torch.testing.assert_close(got, torch.full_like(got, 0.7))


def test_equal_rates_pass_blocks_through():
    blocks = [noise(10), noise(1)]
    assert all(a is b for a, b in zip(resample(blocks, 44100, 44100), blocks, strict=True))


def test_an_empty_stream_stays_empty():
    assert list(resample([], 48000, 44100)) == []
    assert list(resample([torch.zeros(2, 1)], 48000, 44100)) == []  # floor(1 * 147 / 160)


def test_rates_must_be_positive():
    with pytest.raises(OptionError, match="positive"):
        resample([], 0, 44100)


def test_memory_does_not_grow_with_the_track():
    def endless() -> Iterator[Tensor]:
        for _ in range(200):
            yield torch.zeros(1, 10_000)

    longest = max(block.shape[-1] for block in resample(endless(), 48000, 44100))
    assert longest < 100_000
