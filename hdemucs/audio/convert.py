"""From any source to what a model was trained on: its sample rate, its channels, finite samples."""

from collections.abc import Iterator

import torch
from torch import Tensor

from hdemucs.audio.remix import remix
from hdemucs.audio.resample import resample, resample_part
from hdemucs.audio.source import AudioSource
from hdemucs.errors import AudioError


def convert(source: AudioSource, sample_rate: int, channels: int) -> Iterator[Tensor]:
    """Read a source from the start in the sample rate (Hz) and number of channels of a model.

    Returns:
        Blocks `[channels, n]`, n >= 1, float32.

    Raises:
        AudioError: while iterating: the source is damaged, has NaN or infinite samples, or no audio at all.
    """
    remixed = (remix(block, channels) for block in _finite(source))
    empty = True
    for block in resample(remixed, source.sample_rate, sample_rate):
        empty = False
        yield block
    if empty:
        raise AudioError(f"{source.name} has no audio: it has no samples; export it again from its origin")


def convert_part(source: AudioSource, start: int, length: int, sample_rate: int, channels: int) -> Tensor:
    """Read a part of what `convert` gives, without the rest, and without a look at whether it is finite.

    Args:
        source: to read from.
        start: first frame of the part, in the new sample rate.
        length: of the part, in the new sample rate.
        sample_rate: to resample to, in Hz.
        channels: to remix to.

    Returns:
        `[channels, n]` float32; n is less than `length` only at the end of the source.

    Raises:
        AudioError: the source is damaged, or has channels that cannot be remixed.
    """

    def read(start: int, length: int) -> Tensor:
        return remix(source.read(start, length), channels)

    return resample_part(read, start, length, source.sample_rate, sample_rate)


def _finite(source: AudioSource) -> Iterator[Tensor]:
    """The blocks of a source, after a look at every sample."""
    start = 0
    for block in source.blocks():
        # One NaN would spread over the whole track through its mean and deviation.
        bad = ~torch.isfinite(block).all(dim=0)
        if bad.any():
            second = (start + int(bad.int().argmax())) / source.sample_rate
            raise AudioError(
                f"{source.name} has a sample that is NaN or infinite at {second:.3f} s; "
                "repair that spot in an audio editor, or export the file again"
            )
        start += block.shape[-1]
        yield block
