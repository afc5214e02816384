"""Sources of audio: named streams of samples that can be read more than once."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hdemucs.audio.blocks import BLOCK_LENGTH, regroup
from hdemucs.audio.rates import RATES
from hdemucs.errors import AudioError

# More channels than any recording of music has: beyond it, an array is more likely [samples, channels].
MOST_CHANNELS = 32
_TAGS = ("title", "artist", "album", "date", "genre", "track", "comment")


@dataclass(frozen=True, kw_only=True)
class AudioSource(ABC):
    """A stream of samples, from a file or from memory.

    Attributes:
        name: Name in messages; for a file, its path.
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        length: Number of samples per channel. An estimate, from the header; None if the header does not say.
        streams: Number of audio streams in the file, of which this source reads one.
        tags: Any of title, artist, album, date, genre, track and comment.
        warnings: What is wrong with a file that can be read nevertheless, one line each: it ends before it
            should. Complete once the source was read to its end.

    Raises:
        AudioError: The sample rate cannot be that of audio.
    """

    name: str
    sample_rate: int
    channels: int
    length: int | None = None
    streams: int = 1
    tags: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.sample_rate not in RATES:
            raise AudioError(
                f"{self.name} has a sample rate of {self.sample_rate} Hz, which must be a whole number from "
                f"{RATES[0]} to {RATES[-1]}; export it again, or state its true rate"
            )

    def blocks(self, length: int = BLOCK_LENGTH) -> Iterator[Tensor]:
        """Read from the start.

        Args:
            length: Number of samples in each block.

        Yields:
            Float32 blocks `[channels, length]`; the last may be shorter, none is empty.

        Raises:
            AudioError: While iterating: the file is damaged or gone.
        """
        return regroup(self._decode(), length)

    def read(self, start: int, length: int) -> Tensor:
        """Read a part, by seeking where the codec allows it.

        Args:
            start: First sample, 0 or more.
            length: Number of samples per channel.

        Returns:
            `[channels, n]` float32, exactly what `blocks` gives at that place; n is less than `length` only
            at the end of the source. In AAC, bands that the decoder fills with noise get different noise of
            the same level, which is the same in every call.

        Raises:
            AudioError: The file is damaged or gone.
            ValueError: `start` or `length` is negative.
        """
        if min(start, length) < 0:
            raise ValueError(f"start and length must not be negative: {start}, {length}")
        pieces = [torch.empty(self.channels, 0)]
        with closing(self._decode(start)) as blocks:
            while length and (block := next(blocks, None)) is not None:
                pieces.append(block[:, :length])
                length -= pieces[-1].shape[-1]
        return torch.cat(pieces, dim=-1)

    def _warn(self, warning: str) -> None:
        """Add a warning, once: a source may be read again."""
        if warning not in self.warnings:
            self.warnings.append(warning)

    @abstractmethod
    def _decode(self, start: int = 0) -> Generator[Tensor, None, None]:
        """Read from sample `start` on, in blocks `[channels, n]` of any length, even 0."""


@dataclass(frozen=True, kw_only=True)
class _Samples(AudioSource):
    array: np.ndarray = field(repr=False)

    def _decode(self, start: int = 0) -> Generator[Tensor, None, None]:
        for place in range(start, self.array.shape[1], BLOCK_LENGTH):
            yield to_float(self.array[:, place : place + BLOCK_LENGTH])


def from_samples(samples: ArrayLike | Tensor, sample_rate: int, name: str = "<samples>") -> AudioSource:
    """Make a source from samples in memory, without copying them.

    Args:
        samples: NumPy array or tensor, `[channels, samples]`, or `[samples]` for mono. Floating-point samples
            are taken as they are; integers of 8, 16 and 32 bits are divided by their full scale.
        sample_rate: Sample rate in Hz.
        name: Name of these samples in messages.

    Raises:
        AudioError: The shape, type or sample rate is not one that audio can have.
    """
    array = _as_array(samples)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[0] < 1:
        raise AudioError(
            f"{name}: audio must have the shape [channels, samples] or [samples], not {[*array.shape]}"
        )
    channels, length = array.shape
    if channels > MOST_CHANNELS and channels > length:
        raise AudioError(
            f"{name}: the shape {[*array.shape]} would be {channels} channels, but looks like "
            "[samples, channels]; transpose the samples"
        )
    if array.dtype.kind not in "fiu" or (array.dtype.kind != "f" and array.dtype.itemsize > 4):
        raise AudioError(
            f"{name}: samples of type {array.dtype} have no known full scale; "
            "convert them to float32 in [-1, 1], or to int16 or int32"
        )
    # A number that `RATES` contains may be a float, such as 44100.0.
    rate = int(sample_rate) if sample_rate in RATES else sample_rate
    return _Samples(name=name, sample_rate=rate, channels=channels, length=length, array=array)


def known_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those tags of a file that `AudioSource.tags` may contain, whatever the case of their names."""
    lower = {key.lower(): value for key, value in tags.items()}
    return {key: lower[key] for key in _TAGS if lower.get(key)}


def _as_array(samples: ArrayLike | Tensor) -> np.ndarray:
    if not isinstance(samples, Tensor):
        return np.asarray(samples)
    samples = samples.detach().cpu()
    # numpy has no bfloat16.
    return (samples.float() if samples.dtype == torch.bfloat16 else samples).numpy()


def to_float(samples: np.ndarray) -> Tensor:
    """Copy samples of any real type to a float32 tensor of the same shape; integers become [-1, 1)."""
    scaled = samples.astype(np.float32, order="C")
    if samples.dtype.kind in "iu":
        full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        # Unsigned formats put silence in the middle of their range.
        scaled = (scaled - (full_scale if samples.dtype.kind == "u" else 0.0)) / full_scale
    return torch.from_numpy(np.asarray(scaled, dtype=np.float32))
