"""The contract of a network: a frozen, validated configuration, and what every network can answer.

A network is one file: a subclass of `NetworkConfig`, a subclass of `Network`, and a row in
`hdemucs.model.NETWORKS`. Training, inference, checkpoints and fine-tuning rely on nothing but this contract.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

MAX_SOURCES = 1000


def bounded(default: Any, least: float, most: float, *, kw_only: bool = False) -> Any:
    """Declare a setting with its range, so that no file can ask for a network of absurd size."""
    return field(default=default, kw_only=kw_only, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class NetworkConfig:
    """Validated settings of a network; each network has a subclass of its own.

    A list is accepted for a tuple and an integer for a float; both are stored as the declared type.

    Attributes:
        sources: Names of the sources that the network separates, in the order of its outputs.
        audio_channels: Number of audio channels of the mixture and of each source.
        sample_rate: Sample rate of the audio that the network was trained on, in Hz.
        segment: Recommended length of audio for one forward pass, in seconds.

    Raises:
        ValueError: A setting has the wrong type or is out of range.
    """

    sources: tuple[str, ...]
    audio_channels: int = bounded(2, 1, 64)
    sample_rate: int = bounded(44100, 1, 1_000_000, kw_only=True)
    segment: float = bounded(40.0, 1e-3, 1e6, kw_only=True)

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for item in fields(self):
            value = _validated(item.name, getattr(self, item.name), kinds[item.name], item.metadata)
            object.__setattr__(self, item.name, value)
        if not 0 < len(set(self.sources)) == len(self.sources) <= MAX_SOURCES:
            raise ValueError(
                f"sources must be distinct names, at least one, not {_shown(list(self.sources))}"
            )
        self._check()

    def _check(self) -> None:
        """Raise ValueError for settings that contradict each other."""

    def as_dict(self) -> dict[str, Any]:
        """All settings by name, as values that JSON can hold and the constructor accepts."""
        return asdict(self)


def _validated(name: str, value: Any, kind: Any, limits: Mapping[str, float]) -> Any:
    """Convert `value` to `kind`, the declared type of setting `name`; ValueError if it is not valid."""
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or len(value) > MAX_SOURCES:
            raise ValueError(f"{name} must be a list, not {_shown(value)}")
        return tuple(_validated(name, item, get_args(kind)[0], limits) for item in value)
    if get_origin(kind) is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {_shown(value)}")
        return value
    if kind in (bool, str):
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be {_WORDS[kind]}, not {_shown(value)}")
        return value
    numbers = (int,) if kind is int else (int, float, Fraction)
    if not isinstance(value, numbers) or isinstance(value, bool) or not _finite(value):
        raise ValueError(f"{name} must be {_WORDS[kind]}, not {_shown(value)}")
    least, most = limits.get("least", value), limits.get("most", value)
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least:g} to {most:g}, not {_shown(value)}")
    return kind(value)


_WORDS = {bool: "true or false", str: "text", int: "a whole number", float: "a finite number"}


def _finite(value: float | Fraction) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: object) -> str:
    """Text of a value for a message, cut to a readable length; huge numbers are not even formatted."""
    if isinstance(value, int | Fraction):
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        return str(value) if bits < 200 else "a number with too many digits"
    return f"{value!r:.60}"


class Network(nn.Module, ABC):
    """A network that separates sources.

    The constructor takes the settings of its configuration: `HDemucs(["vocals", "rest"], channels=32)`.

    Attributes:
        config: Configuration of this network.
        tiny: Settings of a network with a few thousand parameters, for tests.
        name: Name by which the network was loaded; None if it was not loaded by name.
        inner_dtype: Type to compute in between the STFT and its inverse, if there are any; None for that of
            the mixture. See `hdemucs.model.fast.prepare`.
    """

    Config: ClassVar[type[NetworkConfig]]
    config: NetworkConfig
    tiny: ClassVar[Mapping[str, Any]]
    name: str | None = None
    inner_dtype: torch.dtype | None = None

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__()
        self.config = self.Config(*args, **settings)
        self._build()

    @classmethod
    def from_config(cls, config: NetworkConfig) -> "Network":
        """Build an untrained network from its configuration."""
        return cls(**config.as_dict())

    @abstractmethod
    def _build(self) -> None:
        """Create the layers from `self.config`."""

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in the order of the outputs."""
        return list(self.config.sources)

    @property
    def audio_channels(self) -> int:
        """Number of audio channels of the mixture and of each source."""
        return self.config.audio_channels

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio that the network was trained on, in Hz."""
        return self.config.sample_rate

    @property
    def segment(self) -> float:
        """Recommended length of audio for one forward pass, in seconds; may be set."""
        return self.config.segment

    @segment.setter
    def segment(self, seconds: float) -> None:
        self.config = replace(self.config, segment=seconds)

    @property
    def longest_segment(self) -> float | None:
        """Longest segment that the network takes, in seconds; None if it takes any."""
        return None

    def valid_length(self, length: int) -> int:
        """Input length, in samples, from which the network computes `length` samples without zero padding."""
        return length

    @property
    def min_length(self) -> int:
        """Shortest excerpt worth training on, in samples: the input that one output sample needs."""
        return self.valid_length(1)

    @abstractmethod
    def forward(self, mix: Tensor) -> Tensor:
        """Separate a mixture `[B, C, L]`, L at least 1, into `[B, S, C, L]`; ValueError for another shape."""

    @abstractmethod
    def source_axes(self) -> dict[str, int]:
        """Axis of the sources in each parameter that has values per source, by the name of the parameter.

        These are the parameters of the output layers, which fine-tuning for other sources replaces. Along the
        axis, the sources follow one another in order, each with its channels.
        """

    def to_inner(self, x: Tensor) -> Tensor:
        """`x` in the type to compute in."""
        return x if self.inner_dtype is None else x.to(self.inner_dtype)

    def check_mix(self, mix: Tensor) -> None:
        """Raise ValueError unless `mix` is `[B, C, L]` with L at least 1."""
        if mix.dim() != 3 or mix.shape[1] != self.audio_channels or mix.shape[-1] < 1:
            raise ValueError(
                f"a mixture must be [batch, {self.audio_channels}, samples], not {list(mix.shape)}"
            )
