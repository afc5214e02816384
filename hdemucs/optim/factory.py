"""Optimisers by name. A new one is a file in this folder and a row in `OPTIMIZERS`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    # Only for type checkers: the configuration's schema reads the names below without waiting for torch.
    from torch import nn
    from torch.optim import Optimizer

OPTIMIZERS = {
    "adam": "torch.optim:Adam",
}
"""Where each class is, as `module:class`; it takes the parameters, `lr` and `betas`."""

if TYPE_CHECKING:
    OptimizerKind = str
else:
    OptimizerKind = Literal[tuple(OPTIMIZERS)]
    """Choices of `optimizer.kind` in a configuration."""


def build_optimizer(kind: OptimizerKind, parameters: Iterable[nn.Parameter], **settings: Any) -> Optimizer:
    """Optimiser of a kind listed in `OPTIMIZERS`.

    Args:
        kind: Name of the optimiser.
        parameters: Parameters to optimise.
        **settings: Arguments of that optimiser, such as `lr`.
    """
    optimizer: Optimizer = pkgutil.resolve_name(OPTIMIZERS[kind])(parameters, **settings)
    return optimizer
