"""Synthetic signals to score: noise, and something like music."""

import math

import torch
from torch import Tensor


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sixteen_bits(signals: Tensor) -> Tensor:
    """Signals rounded to 16 bits, as in most WAV files.

    In float32, an empty frequency band is below the rounding errors of the normal equations, and museval's
    own scores change by decibels with the order of the sources.
    """
    return (signals * 32768).round() / 32768


def music(sources: int, channels: int, length: int, rate: int) -> Tensor:
    """Decaying harmonic notes on the beat, panned, at 16 bits; the top of the spectrum is empty."""
    generator = torch.Generator().manual_seed(sources)
    time = torch.arange(length, dtype=torch.float64) / rate
    tracks = torch.zeros(sources, channels, length, dtype=torch.float64)
    for source in range(sources):
        pan = 0.2 + 0.8 * torch.rand(channels, 1, generator=generator)
        for start in torch.arange(0, length / rate, 0.2).tolist():
            pitch = 60 * (source + 1) * 2 ** (torch.randint(12, (), generator=generator).item() / 12)
            since = (time - start - 0.03 * source).clamp(min=0)
            envelope = torch.exp(-6 * since) * (1 - torch.exp(-200 * since))
            for harmonic in range(1, int(0.3 * rate / pitch) + 1):
                phase = 2 * math.pi * harmonic * pitch * since
                tracks[source] += pan * envelope * torch.sin(phase + harmonic * source) * 0.1 / harmonic
    return sixteen_bits(tracks.float())


def separated(references: Tensor, leak: float = 0.1, artifacts: float = 0.02) -> Tensor:
    """Estimates as a network might make them: with some of the other sources, and some noise."""
    others = references.sum(0, keepdim=True) - references
    return references + leak * others + artifacts * references.std() * noise(*references.shape, seed=1)
