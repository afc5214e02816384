"""The short-time Fourier transform and Wiener filtering."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hdemucs.model.spectrogram import istft, reflect_pad, stft, wiener


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 5000), n_fft=st.sampled_from([32, 256, 1024]))
def test_frames_are_the_ceiling_of_hops(length: int, n_fft: int) -> None:
    z = stft(torch.randn(1, 1, length), n_fft)
    assert z.shape == (1, 1, n_fft // 2, math.ceil(length / (n_fft // 4)))


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(1, 5000),
    n_fft=st.sampled_from([32, 256, 1024]),
    padding=st.sampled_from(["aligned", "centered"]),
)
def test_inverse_gives_the_signal_back(length: int, n_fft: int, padding: str) -> None:
    """Checked away from the ends, with a signal that has nothing in the Nyquist bin."""
    time = torch.arange(length) / n_fft
    x = torch.stack([torch.sin(20 * time), torch.sin(9 * time + 1)])[None]
    y = istft(stft(x, n_fft, padding), length, padding)  # type: ignore[arg-type]
    assert y.shape == x.shape
    inner = slice(n_fft, max(n_fft, length - n_fft))
    assert torch.allclose(y[..., inner], x[..., inner], atol=1e-3)


def test_tone_is_where_its_frequency_is() -> None:
    rate, n_fft, frequency = 44100, 4096, 1000.0
    x = torch.sin(2 * math.pi * frequency / rate * torch.arange(rate)).view(1, 1, -1)
    power = stft(x, n_fft).abs().square().mean(-1).flatten()
    assert abs(power.argmax().item() * rate / n_fft - frequency) < rate / n_fft
    assert power.max() > 1e6 * power[power.numel() // 2 :].max()


def test_reflection_of_short_signals() -> None:
    long = torch.arange(1.0, 6.0).view(1, 1, -1)
    assert reflect_pad(long, 2, 1).flatten().tolist() == [3, 2, 1, 2, 3, 4, 5, 4]
    short = reflect_pad(torch.ones(1, 1, 1), 2, 2).flatten().tolist()
    assert len(short) == 5
    assert short[2] == 1
    assert sum(short) == 1


@pytest.mark.parametrize("channels", [1, 2])
def test_wiener_filter_of_the_truth_is_the_truth(channels: int) -> None:
    """Sources that are never active at once are told apart by their magnitudes."""
    torch.manual_seed(0)
    sources = torch.randn(1, 2, channels, 8, 50, dtype=torch.complex128)
    sources[:, 0, ..., :25] = 0
    sources[:, 1, ..., 25:] = 0
    for iterations in (0, 1):
        out = wiener(sources.abs(), sources.sum(1), iterations)
        assert (out - sources).abs().max() < 1e-3


def test_wiener_filter_adds_up_to_the_mixture() -> None:
    torch.manual_seed(0)
    mix = torch.randn(1, 2, 8, 40, dtype=torch.complex128)
    magnitudes = torch.rand(1, 3, 2, 8, 40, dtype=torch.float64) + 0.1
    out = wiener(magnitudes, mix, 1)
    assert (out.sum(1) - mix).abs().max() < 1e-3 * mix.abs().max()
