"""Checks of a metric's input, and access to long tracks block by block in float64.

Letters in shapes: S sources, C channels, L samples, M = S * C.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

TRANSFORM_LENGTH = 2**16
"""Number of samples per channel to transform at a time: few enough for the processor's cache."""

SUM_LENGTH = 2**19
"""Number of samples per channel to sum at a time: enough that threads rarely wait for each other."""


def check_signals(references: Tensor, estimates: Tensor) -> None:
    """Check that a metric can score these signals.

    Args:
        references: True sources `[S, C, L]`, floating-point, none of the axes empty.
        estimates: Estimated sources, same shape and order.

    Raises:
        ValueError: The number of axes is wrong, shapes differ, there is nothing to score, or signals hold
            integers, NaN or infinity.
    """
    if references.dim() != 3:
        raise ValueError(f"references must be [sources, channels, samples], not {list(references.shape)}")
    if references.shape != estimates.shape:
        raise ValueError(
            f"references {list(references.shape)} and estimates {list(estimates.shape)} must have the same "
            "shape"
        )
    if references.numel() == 0:
        raise ValueError(f"signals of shape {list(references.shape)} have nothing to score")
    for name, signals in (("references", references), ("estimates", estimates)):
        if not signals.is_floating_point():
            raise ValueError(f"{name} must be floating-point, not {signals.dtype}")
        # If any sample is NaN or infinite, so is an extreme; finding extremes needs no copy of the track.
        if not torch.stack(signals.aminmax()).isfinite().all():
            raise ValueError(f"{name} must be finite, but contain NaN or infinity")


def blocks(references: Tensor, estimates: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks `[S, C, up to SUM_LENGTH]` of references and estimates, in float64."""
    length = references.shape[-1]
    for start in range(0, length, SUM_LENGTH):
        stop = min(start + SUM_LENGTH, length)
        device = references.device
        yield _block(references, start, stop, device), _block(estimates, start, stop, device)


def side_by_side(references: Tensor, estimates: Tensor, start: int, stop: int) -> Tensor:
    """Samples `start` to `stop` of all channels, `[2 * M, stop - start]` in float64: references first.

    Beyond the end of the track they are zero.
    """
    device = references.device
    return torch.cat([_block(x, start, stop, device) for x in (references, estimates)]).flatten(0, 1)


def _block(signals: Tensor, start: int, stop: int, device: torch.device) -> Tensor:
    present = signals[..., start:stop].to(device, torch.float64)
    return F.pad(present, (0, stop - start - present.shape[-1]))
