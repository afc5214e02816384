"""Exponential moving averages of the weights (arXiv 2111.03600; decays of `repro.py` of `demucs`)."""

from typing import Any

import torch
from torch import Tensor, nn

from hdemucs.errors import TrainingError


class Average:
    """Exponential moving average of a model's weights, without bias towards the first ones.

    The newest weights count `1 / (1 + decay + decay^2 + ...)` with one term an update: after the first, the
    average is the weights themselves, and after few, it is nearly their mean.

    Args:
        model: as it is, not wrapped for several devices.
        decay: what an update leaves of the weight of all earlier ones.
        device: of the average; None where the weights are, best if it is updated after each batch.
    """

    def __init__(self, model: nn.Module, decay: float, device: torch.device | str | None = None) -> None:
        self.model = model
        self.decay = decay
        self.count = 0.0
        """Updates so far, each counted less the older it is."""
        self.state: dict[str, Tensor] = {
            name: value.to(device or value.device, _kept_as(value), copy=True)
            for name, value in _state(model).items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights as they are now into the average; buffers of whole numbers are copied."""
        self.count = self.count * self.decay + 1
        latest = _state(self.model)
        averaged = [name for name, value in self.state.items() if value.is_floating_point()]
        old = [self.state[name] for name in averaged]
        new = [latest[name].to(value) for name, value in zip(averaged, old, strict=True)]
        torch._foreach_lerp_(old, new, 1 / self.count)
        for name in self.state.keys() - set(averaged):
            self.state[name].copy_(latest[name])

    def state_dict(self) -> dict[str, Any]:
        """All there is to save: `count`, and `state`, which has the names and shapes of the model's own.

        The tensors are the average's, not copies of it.
        """
        return {"count": self.count, "state": dict(self.state)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, exactly; TrainingError where it is of another model."""
        shapes = {name: value.shape for name, value in self.state.items()}
        if {name: value.shape for name, value in saved["state"].items()} != shapes:
            raise TrainingError(
                "the saved average of the weights is of another model; "
                "go on with the configuration that it was saved with, or start a new run"
            )
        _copy(saved["state"], self.state)
        self.count = float(saved["count"])


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in model.state_dict().items()}


def _kept_as(value: Tensor) -> torch.dtype:
    """At least float32: in half precision, a step of a thousandth of a difference would be lost."""
    return torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])
