"""What can be separated: a named stream of samples that can be read more than once."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hdemucs.audio.blocks import BLOCK_LENGTH, regroup
from hdemucs.errors import AudioError

# More channels than any recording of music has: beyond it, an array is more likely [samples, channels].
MOST_CHANNELS = 32
_TAGS = ("title", "artist", "album", "date", "genre", "track", "comment")


@dataclass(frozen=True, kw_only=True)
class AudioSource(ABC):
    """A stream of samples, from a file or from memory.

    Attributes:
        name: what messages call it; for a file, its path.
        sample_rate: in Hz.
        channels: their number.
        length: how many samples each channel has. An estimate, from the header; None if it does not say.
        streams: how many audio streams the file has; this source reads one of them.
        tags: any of title, artist, album, date, genre, track and comment.
    """

    name: str
    sample_rate: int
    channels: int
    length: int | None = None
    streams: int = 1
    tags: dict[str, str] = field(default_factory=dict)

    def blocks(self, length: int = BLOCK_LENGTH) -> Iterator[Tensor]:
        """Read from the start: float32 blocks `[channels, samples]`, the last one shorter, none empty.

        Raises:
            AudioError: the file is damaged or gone, found while reading.
        """
        return regroup(self._decode(), length)

    def read(self, start: int, length: int) -> Tensor:
        """Read a part, by seeking where the codec allows it.

        Args:
            start: the first frame, 0 or more.
            length: how many.

        Returns:
            `[channels, n]` float32, exactly what `blocks` gives at that place; n is less than `length` only
            at the end of the source. In AAC, bands that the encoder left to the decoder to fill with noise
            get other noise of the same level; the same one in each call.

        Raises:
            AudioError: the file is damaged or gone.
            ValueError: `start` or `length` is negative.
        """
        if min(start, length) < 0:
            raise ValueError(f"there are no {length} samples from sample {start} on")
        pieces = [torch.empty(self.channels, 0)]
        with closing(self._decode(start)) as blocks:
            while length and (block := next(blocks, None)) is not None:
                pieces.append(block[:, :length])
                length -= pieces[-1].shape[-1]
        return torch.cat(pieces, dim=-1)

    @abstractmethod
    def _decode(self, start: int = 0) -> Generator[Tensor, None, None]:
        """Read from frame `start` on, in blocks `[channels, n]` of whatever length is natural; n may be 0."""


@dataclass(frozen=True, kw_only=True)
class _Samples(AudioSource):
    array: np.ndarray = field(repr=False)

    def _decode(self, start: int = 0) -> Generator[Tensor, None, None]:
        for place in range(start, self.array.shape[1], BLOCK_LENGTH):
            yield to_float(self.array[:, place : place + BLOCK_LENGTH])


def from_samples(samples: ArrayLike | Tensor, sample_rate: int, name: str = "<samples>") -> AudioSource:
    """Make a source of samples that are in memory already. They are not copied.

    Args:
        samples: numpy array or tensor, `[channels, samples]`, or `[samples]` for mono. Floating point is
            taken as it is; integers of 8, 16 and 32 bits are divided by their full scale.
        sample_rate: in Hz.
        name: what messages call these samples.

    Raises:
        AudioError: the shape, the type or the sample rate cannot be audio.
    """
    array = _as_array(samples)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[0] < 1:
        raise AudioError(
            f"{name}: audio has the shape [channels, samples] or [samples], not {[*array.shape]}"
        )
    channels, length = array.shape
    if channels > MOST_CHANNELS and channels > length:
        raise AudioError(
            f"{name}: the shape {[*array.shape]} means {channels} channels, but looks like "
            "[samples, channels]; transpose the samples"
        )
    if array.dtype.kind not in "fiu" or (array.dtype.kind != "f" and array.dtype.itemsize > 4):
        raise AudioError(
            f"{name}: samples of type {array.dtype} have no known full scale; "
            "convert them to float32 in [-1, 1], or to int16 or int32"
        )
    if int(sample_rate) != sample_rate or sample_rate < 1:
        raise AudioError(f"{name}: the sample rate must be a positive whole number of Hz, not {sample_rate}")
    return _Samples(name=name, sample_rate=int(sample_rate), channels=channels, length=length, array=array)


def known_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of a file's tags that `AudioSource.tags` has."""
    lower = {key.lower(): value for key, value in tags.items()}
    return {key: lower[key] for key in _TAGS if lower.get(key)}


def _as_array(samples: ArrayLike | Tensor) -> np.ndarray:
    if not isinstance(samples, Tensor):
        return np.asarray(samples)
    samples = samples.detach().cpu()
    # numpy has no bfloat16.
    return (samples.float() if samples.dtype == torch.bfloat16 else samples).numpy()


def to_float(samples: np.ndarray) -> Tensor:
    """Copy samples of any real type, same shape, to a float32 tensor; integers become [-1, 1)."""
    scaled = samples.astype(np.float32, order="C")
    if samples.dtype.kind in "iu":
        full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        # Unsigned formats put silence in the middle of their range.
        scaled = (scaled - (full_scale if samples.dtype.kind == "u" else 0.0)) / full_scale
    return torch.from_numpy(np.asarray(scaled, dtype=np.float32))
