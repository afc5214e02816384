"""Optimisers by name. To add one, put it into a file in this folder and list it in `OPTIMIZERS`."""

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
    """Build an optimiser by name.

    Args:
        kind: Key of `OPTIMIZERS`.
        parameters: Parameters to optimise.
        **settings: Arguments of the optimiser, such as `lr`.
    """
    optimizer: Optimizer = pkgutil.resolve_name(OPTIMIZERS[kind])(parameters, **settings)
    return optimizer
