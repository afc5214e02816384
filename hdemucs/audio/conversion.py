"""Turning any source into what a model was trained on: its sample rate and channels, finite samples."""

import math
from collections.abc import Iterable, Iterator

from numpy.typing import ArrayLike
from torch import Tensor

from hdemucs.audio.remixing import remix
from hdemucs.audio.resampling import resample, resample_part
from hdemucs.audio.source import AudioSource, from_samples
from hdemucs.errors import AudioError

# 200 dB above full scale. Damaged floats are larger, and overflow in sums; unscaled integers are not.
_LOUDEST = 1e10


def convert(source: AudioSource, sample_rate: int, channels: int) -> Iterator[Tensor]:
    """Read a source from the start, with another sample rate and number of channels.

    Args:
        source: Source to read.
        sample_rate: Sample rate of the result in Hz.
        channels: Number of channels of the result.

    Returns:
        Blocks `[channels, n]`, n >= 1, float32.

    Raises:
        AudioError: While iterating: the source is damaged, is empty, or has samples that are NaN, infinite
            or absurdly loud.
    """
    remixed = (remix(block, channels) for block in _finite(source.blocks(), source.name, source.sample_rate))
    empty = True
    for block in resample(remixed, source.sample_rate, sample_rate):
        empty = False
        yield block
    if empty:
        raise AudioError(
            f"{source.name} has no audio: it contains no samples; export it again from where it came from"
        )


def convert_part(source: AudioSource, start: int, length: int, sample_rate: int, channels: int) -> Tensor:
    """Read a part of what `convert` gives, without decoding the rest or checking that samples are finite.

    Args:
        source: Source to read.
        start: First sample of the part, counted at the new sample rate.
        length: Number of samples per channel, counted at the new sample rate.
        sample_rate: Sample rate of the result in Hz.
        channels: Number of channels of the result.

    Returns:
        `[channels, n]` float32; n is less than `length` only at the end of the source.

    Raises:
        AudioError: The source is damaged, or its channels cannot be remixed to `channels`.
    """

    def read(start: int, length: int) -> Tensor:
        return remix(source.read(start, length), channels)

    return resample_part(read, start, length, source.sample_rate, sample_rate)


def convert_live(
    blocks: Iterable[ArrayLike | Tensor], old_rate: int, sample_rate: int, channels: int
) -> Iterator[Tensor]:
    """Convert audio that is just being recorded, as `convert` does, without waiting for more than it needs.

    Args:
        blocks: Blocks `[channels, n]` or `[n]` of any length, of any type that `from_samples` takes.
        old_rate: Sample rate of the blocks in Hz.
        sample_rate: Sample rate of the result in Hz.
        channels: Number of channels of the result.

    Returns:
        Blocks `[channels, n]`, float32; those of another sample rate come some hundredths of a second late.

    Raises:
        AudioError: The sample rate cannot be that of audio. While iterating: a block is not audio, or has
            samples that are NaN, infinite or absurdly loud.
    """
    name = "<stream>"
    rate = from_samples([], old_rate, name).sample_rate
    sources = (from_samples(block, rate, name) for block in blocks)
    samples = (block for source in sources for block in source.blocks())
    remixed = (remix(block, channels) for block in _finite(samples, name, rate))
    return resample(remixed, rate, sample_rate, block_length=1)


def _finite(blocks: Iterable[Tensor], name: str, sample_rate: int) -> Iterator[Tensor]:
    """The same blocks, every sample checked to be one of audio."""
    start = 0
    for block in blocks:
        # A single NaN would spread over the whole track through its mean and deviation.
        bad = ~(block.abs() <= _LOUDEST).all(dim=0)
        if bad.any():
            place = int(bad.int().argmax())
            peak = float(block[:, place].abs().max())
            what = f"of {peak:.3g}" if math.isfinite(peak) else "that is NaN or infinite"
            raise AudioError(
                f"{name} has a sample {what} at {(start + place) / sample_rate:.3f} s; "
                "repair that spot in an audio editor, or export the file again"
            )
        start += block.shape[-1]
        yield block
