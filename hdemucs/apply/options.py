"""Options for applying a model, and the progress that it reports."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, NoReturn, TypedDict

import torch

from hdemucs.apply.devices import find_device
from hdemucs.apply.precision import PRECISIONS, Precision, inner_dtype
from hdemucs.errors import Cancelled, OptionError
from hdemucs.suggest import hint


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
        shifts: Number of passes over the track, each shifted by a different fraction of half a second, that
            are averaged; 0 and 1 both mean a single pass without a shift (1 in demucs: one pass with a random
            shift). Time grows in proportion, and scores improve by up to 0.2 dB (arXiv 1911.13254).
        batch_size: Number of chunks in one forward pass; None for as many as fit into the free memory of a
            CUDA GPU, up to 8, and 1 elsewhere, where more do not help.
        jobs: Number of chunks, or in `hdemucs.batch` of tracks, separated at the same time on a CPU; torch's
            threads are shared between them, and each takes the memory of one. 0 and 1 both mean one after
            another.
        device: Device by torch's name; None or `auto` for an NVIDIA, Apple or Intel GPU if there is one, else
            the CPU.
        precision: Type that the network computes in. `auto` takes the fastest that the device has
            instructions for, and changes the scores by less than 0.01 dB; `float32` gives the same result
            everywhere, but for rounding.
        progress: Function called after each chunk.

    Raises:
        OptionError: A value is out of range, or not a number.
    """

    segment: float | None = None
    overlap: float = 0.25
    shifts: int = 1
    batch_size: int | None = None
    jobs: int = 1
    device: str | torch.device | None = None
    precision: Precision = "auto"
    progress: ProgressCallback | None = None

    def __post_init__(self) -> None:
        if self.segment is not None and not (_is(self.segment, Real) and 0 < self.segment < math.inf):
            raise OptionError(f"segment must be a positive number of seconds, not {self.segment!r}")
        if not (_is(self.overlap, Real) and 0 <= self.overlap < 1):
            raise OptionError(f"overlap must be at least 0 and below 1, not {self.overlap!r}")
        for name, least in (("shifts", 0), ("batch_size", 1), ("jobs", 0)):
            value = getattr(self, name)
            if name == "batch_size" and value is None:
                continue
            if not (_is(value, Integral) and value >= least):
                raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}")
        if self.shifts > MOST_SHIFTS:
            raise OptionError(f"shifts must be at most {MOST_SHIFTS}, not {self.shifts}")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if self.progress is not None and not callable(self.progress):
            raise OptionError(f"progress must be a function of an event, not {self.progress!r}")

    def torch_device(self) -> torch.device:
        """Device to run on, checked to be available.

        Raises:
            OptionError: This machine does not have the device, or torch does not know its name.
        """
        return find_device(self.device)

    def inner_dtype(self, device: torch.device) -> torch.dtype:
        """Type that a network computes in on a device.

        Raises:
            OptionError: The device cannot compute in this precision.
        """
        return inner_dtype(self.precision, device)


class OptionValues(TypedDict, total=False):
    """The attributes of `Options` as keyword arguments, for functions that pass them on."""

    segment: float | None
    overlap: float
    shifts: int
    batch_size: int | None
    jobs: int
    device: str | torch.device | None
    precision: Precision
    progress: ProgressCallback | None


def make_options(values: Mapping[str, Any], others: Collection[str] = ()) -> Options:
    """Make `Options` from keyword arguments.

    Args:
        values: Values by name.
        others: Other arguments of the function that was called, which a mistyped name may stand for.

    Raises:
        OptionError: There is no such option, or a value is out of range.
    """
    known = [field.name for field in fields(Options)]
    for name in values:
        if name not in known:
            raise OptionError(f"there is no option {name!r}{hint(name, [*known, *others])}")
    return Options(**values)


def _is(value: object, kind: type) -> bool:
    """Whether a value is a number of a kind; True and False are not meant as numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)
