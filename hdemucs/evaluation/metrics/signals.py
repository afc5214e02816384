"""What every metric asks of its input, and how it reads a long track: piece by piece, in float64.

Letters in shapes: S sources, C channels, L samples.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

PIECE_SAMPLES = 2**16
"""Samples of each channel that are transformed at a time: few enough for the processor's cache."""

SUM_SAMPLES = 2**19
"""Samples of each channel that are summed at a time: so many that threads seldom wait for one another."""


def check_signals(references: Tensor, estimates: Tensor) -> None:
    """Refuse what no metric can score.

    Args:
        references: true sources, real `[S, C, L]` with nothing empty.
        estimates: estimated sources in the same order and of the same shape.

    Raises:
        ValueError: another number of axes, different shapes, nothing to score, integers, NaN or infinity.
    """
    if references.dim() != 3:
        raise ValueError(f"references must be [sources, channels, samples], not {list(references.shape)}")
    if references.shape != estimates.shape:
        raise ValueError(
            f"references {list(references.shape)} and estimates {list(estimates.shape)} must have one shape"
        )
    if references.numel() == 0:
        raise ValueError(f"there is nothing to score in signals of shape {list(references.shape)}")
    for name, signals in (("references", references), ("estimates", estimates)):
        if not signals.is_floating_point():
            raise ValueError(f"{name} must be floating-point, not {signals.dtype}")
        # The extremes are NaN or infinite where anything is, and need no copy of the track.
        if not torch.stack(signals.aminmax()).isfinite().all():
            raise ValueError(f"{name} must be finite, but hold NaN or infinity")


def piece(signals: Tensor, start: int, stop: int, device: torch.device) -> Tensor:
    """Samples `start` to `stop` of `[S, C, L]` in float64, with zeros beyond the end."""
    present = signals[..., start:stop].to(device, torch.float64)
    return F.pad(present, (0, stop - start - present.shape[-1]))


def pieces(references: Tensor, estimates: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both signals side by side, in float64 pieces `[S, C, up to SUM_SAMPLES]`."""
    length = references.shape[-1]
    for start in range(0, length, SUM_SAMPLES):
        stop = min(start + SUM_SAMPLES, length)
        device = references.device
        yield piece(references, start, stop, device), piece(estimates, start, stop, device)


def side_by_side(references: Tensor, estimates: Tensor, start: int, stop: int) -> Tensor:
    """The channels of both, `[2 * S * C, stop - start]` in float64: references first."""
    return torch.cat([piece(x, start, stop, references.device) for x in (references, estimates)]).flatten(
        0, 1
    )
