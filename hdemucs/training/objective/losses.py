"""Distances between estimated and true stems, by name. To add one, write a function and list it in `LOSSES`.

Letters in shapes: B batch, S sources, C channels, L samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # Only for type checkers: the configuration's schema reads the names below without waiting for torch.
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor], Tensor]
    """Maps estimated and true stems, both `[B, S, C, L]` float32, to the error of each stem, `[B, S]`."""


def absolute_error(estimates: Tensor, stems: Tensor) -> Tensor:
    """Mean absolute difference (arXiv 2111.03600, section 5)."""
    return (estimates - stems).abs().mean((2, 3))


def squared_error(estimates: Tensor, stems: Tensor) -> Tensor:
    """Mean squared difference."""
    return (estimates - stems).square().mean((2, 3))


LOSSES: dict[str, Loss] = {
    "l1": absolute_error,
    "mse": squared_error,
}

if TYPE_CHECKING:
    LossKind = str
else:
    LossKind = Literal[tuple(LOSSES)]
    """Choices of `loss.kind` in a configuration."""
