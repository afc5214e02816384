"""Options for applying a model, and the progress that it reports."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch

from hdemucs.errors import Cancelled, OptionError


@dataclass(frozen=True)
class Progress:
    """Progress of a separation, reported after each chunk.

    Attributes:
        done: Duration of the audio separated so far in seconds, averaged over the members of a bag and the
            shifts.
        total: Duration of the track in seconds; None if it is not known.
    """

    done: float
    total: float | None

    def cancel(self) -> NoReturn:
        """Stop the separation: raises `Cancelled`, which `apply` passes on to its caller."""
        raise Cancelled(f"cancelled after {self.done:.1f} s")


ProgressCallback = Callable[[Progress], None]


MOST_SHIFTS = 1000
"""Shifts beyond this many are a slip of the finger: 10 gain almost all that there is to gain."""


@dataclass(frozen=True)
class Options:
    """Options for applying a model.

    Attributes:
        segment: Duration of audio that the model sees at once, in seconds; None for the model's own. Memory
            grows with it.
        overlap: Fraction of a segment that is shared with the next one. Published scores use 0.25.
        shifts: Number of passes over the track to average, each delayed by a different fraction of half a
            second; 0 and 1 both mean a single pass. Time grows in proportion, and scores improve by up to
            0.2 dB (arXiv 1911.13254).
        batch_size: Number of chunks in one forward pass. More than 1 only helps on a GPU.
        jobs: Number of chunks separated at the same time on a CPU; they share torch's threads.
        device: Device by torch's name; None for CUDA if available, else the CPU.
        progress: Function called after each chunk.

    Raises:
        OptionError: A value is out of range.
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
            raise OptionError(f"segment must be a positive number of seconds, not {self.segment}")
        if not 0 <= self.overlap < 1:
            raise OptionError(f"overlap must be at least 0 and below 1, not {self.overlap}")
        if not 0 <= self.shifts <= MOST_SHIFTS:
            raise OptionError(f"shifts must be at least 0 and at most {MOST_SHIFTS}, not {self.shifts}")
        for name in ("batch_size", "jobs"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")

    def torch_device(self) -> torch.device:
        """Device to run on, checked to be available.

        Raises:
            OptionError: This machine does not have the device, or torch does not know its name.
        """
        if self.device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(1, device=device).item()
        except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
            raise OptionError(f"device {str(self.device)!r} is not available here; try cpu") from error
        return device
