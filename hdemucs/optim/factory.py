"""Optimisers by name. A new one is a file in this folder and a row in `OPTIMIZERS`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
}


def build_optimizer(kind: str, parameters: Iterable[nn.Parameter], **settings: Any) -> Optimizer:
    """Optimiser of a kind listed in `OPTIMIZERS`.

    Args:
        kind: Name of the optimiser.
        parameters: Parameters to optimise.
        **settings: Arguments of that optimiser, such as `lr`.
    """
    return OPTIMIZERS[kind](parameters, **settings)
