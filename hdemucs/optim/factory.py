"""Optimisers by name. To add one, put it into a file in this folder and list it in `OPTIMIZERS`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
}


def build_optimizer(kind: str, parameters: Iterable[nn.Parameter], **settings: Any) -> Optimizer:
    """Build an optimiser by name.

    Args:
        kind: Key of `OPTIMIZERS`.
        parameters: Parameters to optimise.
        **settings: Arguments of the optimiser, such as `lr`.
    """
    return OPTIMIZERS[kind](parameters, **settings)
