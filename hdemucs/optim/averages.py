"""Exponential moving averages of the weights (arXiv 2111.03600; bias correction as in `demucs.ema`)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hdemucs.errors import TrainingError


class WeightAverage:
    """Exponential moving average of a model's weights, without bias towards the initial ones.

    Each update moves the average towards the latest weights by `1 / (1 + decay + decay^2 + ...)`, a sum with
    one term per update: after the first update the average equals the weights, and after a few it is close
    to their plain mean.

    Args:
        model: Model whose weights are averaged, not a wrapper for several devices.
        decay: Factor, in [0, 1), by which each update reduces the share of all earlier weights.
        device: Device that holds the average; None for the device of the weights, which is faster when
            updating every step.
    """

    def __init__(self, model: nn.Module, decay: float, device: torch.device | str | None = None) -> None:
        self.model = model
        self.decay = decay
        self.count = 0.0
        """Number of updates so far, with older ones discounted by `decay`."""
        self.state: dict[str, Tensor] = {
            name: value.to(device or value.device, _stored_dtype(value), copy=True)
            for name, value in _state(model).items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Include the current weights in the average; integer buffers are copied."""
        self.count = self.count * self.decay + 1
        latest = _state(self.model)
        averaged = [name for name, value in self.state.items() if value.is_floating_point()]
        old = [self.state[name] for name in averaged]
        new = [latest[name].to(value) for name, value in zip(averaged, old, strict=True)]
        torch._foreach_lerp_(old, new, 1 / self.count)
        for name in self.state.keys() - set(averaged):
            self.state[name].copy_(latest[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save: `count`, and `state` with the names and shapes of the model's state dict.

        The tensors are not copied.
        """
        return {"count": self.count, "state": dict(self.state)}

    @torch.no_grad()
    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore exactly what `state_dict` returned.

        Raises:
            TrainingError: The saved average belongs to another model.
        """
        shapes = {name: value.shape for name, value in self.state.items()}
        if {name: value.shape for name, value in saved["state"].items()} != shapes:
            raise TrainingError(
                "the saved average of the weights belongs to another model; "
                "resume with the configuration it was saved with, or start a new run"
            )
        for name, value in self.state.items():
            value.copy_(saved["state"][name])
        self.count = float(saved["count"])


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in model.state_dict().items()}


def _stored_dtype(value: Tensor) -> torch.dtype:
    """Float32 or wider: half precision would round small updates away."""
    return torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype
