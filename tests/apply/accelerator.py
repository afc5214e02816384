"""An accelerator that is only pretended: all that happens on and beside one, computed on the CPU."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdemucs.apply import devices

FAKE = torch.device("xpu")


class SmallMemory(nn.Module):
    """One source, the mixture itself; more than `capacity` samples at once do not fit into its device.

    A deep copy of it, as it is made for the CPU, is not limited; shallow ones share its memory.
    """

    sources = ("one",)
    sample_rate = 10
    audio_channels = 1
    segment = 40.0
    longest_segment = None
    training = False

    def __init__(self, capacity: float, context: int = 0) -> None:
        super().__init__()
        self.memory = [capacity]
        self.context = context
        self.weight = nn.Parameter(torch.ones(()))
        self.batches: list[tuple[int, int]] = []
        self.lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> "SmallMemory":
        return SmallMemory(float("inf"), self.context)

    def valid_length(self, length: int) -> int:
        return length + self.context

    def forward(self, mix: Tensor) -> Tensor:
        with self.lock:
            self.batches.append((mix.shape[0], mix.shape[-1]))
        if mix.shape[0] * mix.shape[-1] > self.memory[0]:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 2 GiB")
        return self.weight * mix[:, None]


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device that is not a CPU as far as `hdemucs.apply` can see."""
    working = devices._working
    monkeypatch.setattr(devices, "_working", lambda name: FAKE if str(name) == "xpu" else working(name))
    monkeypatch.setattr(devices, "place", lambda model, device: None)
    monkeypatch.setattr(devices, "upload", lambda x, device: x)
    monkeypatch.setattr(devices, "release_memory", lambda device: None)
    return FAKE
