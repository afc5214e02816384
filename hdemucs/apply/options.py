"""How a model is applied, and how far it has come."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch

from hdemucs.errors import Cancelled, OptionError


@dataclass(frozen=True)
class Progress:
    """How far a separation has come: told after each chunk.

    Attributes:
        done: seconds of network output so far; every member of a bag and every shift counts.
        total: of all that there will be, None as long as the length of the track is unknown.
    """

    done: float
    total: float | None

    def cancel(self) -> NoReturn:
        """Stop the separation: raises `Cancelled`, through `apply`, to whoever runs it."""
        raise Cancelled(f"cancelled after {self.done:.1f} s")


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class Options:
    """How a model is applied.

    Attributes:
        segment: seconds that the model sees at once; the model's own if None. Memory grows with it.
        overlap: fraction of a segment that it shares with the next; 0.25 is what published scores use.
        shifts: passes over the track, each moved by another part of half a second, that are averaged; 0 and
            1 are a single pass. More are slower by as much, and up to 0.2 dB better (arXiv 1911.13254).
        batch_size: chunks in one forward pass; more than 1 helps on a GPU only.
        jobs: chunks at a time on a CPU, each with its share of the threads.
        device: as torch names it; None for CUDA where there is one, else the CPU.
        progress: called after each chunk.
    """

    segment: float | None = None
    overlap: float = 0.25
    shifts: int = 1
    batch_size: int = 1
    jobs: int = 1
    device: str | torch.device | None = None
    progress: ProgressCallback | None = None

    def __post_init__(self) -> None:
        if self.segment is not None and not 0 < self.segment < math.inf:
            raise OptionError(f"segment must be a number of seconds above 0, not {self.segment}")
        if not 0 <= self.overlap < 1:
            raise OptionError(f"overlap must be from 0 to below 1, not {self.overlap}")
        if self.shifts < 0:
            raise OptionError(f"shifts must not be negative, not {self.shifts}")
        for name in ("batch_size", "jobs"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")

    def torch_device(self) -> torch.device:
        """The device, checked; OptionError where this machine does not have it."""
        if self.device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(1, device=device).item()
        except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
            raise OptionError(f"device {str(self.device)!r} is not available here; try cpu") from error
        return device
