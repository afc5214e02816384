"""Level of a track, by which it is normalised before a model and its stems are scaled back after it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

EPS = 1e-8
"""Added to the standard deviation of a track, as in `demucs`, so that silence is not divided by zero."""


@dataclass(frozen=True)
class Level:
    """Level of a track, for normalisation: a model expects input of about mean 0 and standard deviation 1.

    Attributes:
        mean: Mean of the mono mix.
        scale: Standard deviation of the mono mix, plus `EPS`.
        length: Number of samples per channel.
    """

    mean: float
    scale: float
    length: int

    @classmethod
    def of(cls, blocks: Iterator[Tensor]) -> Level:
        """Measure the mono mix of a track in one pass, merging the moments of its blocks `[C, L]`."""
        length, mean, squares = 0, 0.0, 0.0
        for block in blocks:
            mono = block.double().mean(0)
            count = mono.shape[-1]
            delta = float(mono.mean()) - mean
            squares += float((mono - mono.mean()).square().sum())
            squares += delta**2 * length * count / (length + count)
            mean += delta * count / (length + count)
            length += count
        deviation = math.sqrt(squares / (length - 1)) if length > 1 else 0.0
        return cls(mean, deviation + EPS, length)


TYPICAL = Level(0.0, 0.1, 0)
"""Level of typical music, for streams whose own is not known."""
