"""Changing the sample rate of a stream; the result equals that of julius on the whole track."""

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import torch
from julius.resample import ResampleFrac
from torch import Tensor

from hdemucs.audio.blocks import BLOCK_LENGTH, regroup
from hdemucs.errors import OptionError

# Bound on old * new in lowest terms, and so on julius' dense kernel of about that many floats (64 MB). All
# pairs of usual rates stay below it, except for the NTSC rate 44056.
_MOST_TAPS = 2**24


def resample(
    blocks: Iterable[Tensor], old_rate: int, new_rate: int, *, block_length: int = BLOCK_LENGTH
) -> Iterator[Tensor]:
    """Resample a stream of blocks.

    Equal to `julius.resample_frac` of the whole track up to rounding, edges included, however the track
    is cut into blocks. The result has `floor(length * new_rate / old_rate)` samples. Where the two rates have
    next to no common factors (44101 and 44100), their ratio is approximated by smaller numbers: it is off by
    3e-8 for 44056 to 44100, and by 1.2e-4 (a fifth of a cent of pitch) at the very worst.

    Args:
        blocks: Blocks `[channels, n]`, n >= 0, float32.
        old_rate: Sample rate of `blocks` in Hz.
        new_rate: Sample rate of the result in Hz.
        block_length: Number of samples to wait for before the next block is resampled, if the filters do not
            need more; fewer cost time.

    Returns:
        Blocks `[channels, n]`, n >= 1, of other lengths; the same blocks if the rates are equal.

    Raises:
        OptionError: A rate is not positive.
    """
    old, new = _checked_ratio(old_rate, new_rate)
    return iter(blocks) if old == new else _resample(blocks, old, new, block_length)


def resample_part(
    read: Callable[[int, int], Tensor], start: int, length: int, old_rate: int, new_rate: int
) -> Tensor:
    """Resample a part of a track from only the samples that it depends on; equal to that part of `resample`.

    Args:
        read: Function of a start and a length, in samples at `old_rate`, that returns `[channels, n]`; n is
            less than the length only at the end of the track.
        start: First sample of the part, counted at `new_rate`.
        length: Number of samples per channel, counted at `new_rate`.
        old_rate: Sample rate of what `read` returns, in Hz.
        new_rate: Sample rate of the result in Hz.

    Returns:
        `[channels, n]`; n is less than `length` only at the end of the track.

    Raises:
        OptionError: A rate is not positive.
    """
    old, new = _checked_ratio(old_rate, new_rate)
    if old == new:
        return read(start, length)
    filters, reach = _resampler(old, new)
    context = -(-reach // old)
    first = max(0, start // new - context)
    last = -(-(start + length) // new) + context
    part = read(first * old, (last - first) * old)
    if not part.shape[-1]:
        return part
    whole = filters(part, full=True)[..., : part.shape[-1] * new // old]
    return whole[..., start - first * new :][..., :length]


def _checked_ratio(old_rate: int, new_rate: int) -> tuple[int, int]:
    if min(old_rate, new_rate) < 1:
        raise OptionError(f"sample rates must be positive, not {old_rate} and {new_rate} Hz")
    return rate_ratio(old_rate, new_rate)


def rate_ratio(old_rate: int, new_rate: int) -> tuple[int, int]:
    """Two rates in lowest terms, `(old, new)`, or smaller numbers of nearly the same ratio."""
    ratio = Fraction(old_rate, new_rate)
    if ratio.numerator * ratio.denominator > _MOST_TAPS:
        # With a denominator up to this, numerator times denominator is about _MOST_TAPS at most.
        ratio = ratio.limit_denominator(max(1, int(math.sqrt(_MOST_TAPS / ratio))))
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=4)
def _resampler(old: int, new: int) -> tuple[ResampleFrac, int]:
    """julius' filters, and how many samples they reach beyond a period of `old` samples."""
    filters = ResampleFrac(old, new)
    kernel: Tensor = filters.get_buffer("kernel")
    return filters, (kernel.shape[-1] - old) // 2


def _resample(blocks: Iterable[Tensor], old: int, new: int, block_length: int) -> Iterator[Tensor]:
    """Resample by periods of `old` samples in, `new` samples out; each is the same filters, shifted.

    julius repeats the first and the last sample beyond the edges of what it is given. At the edges of the
    track that is what we want; elsewhere, `context` periods of true neighbours on either side keep it away
    from the periods that are used.
    """
    filters, reach = _resampler(old, new)
    context = -(-reach // old)
    held: Tensor | None = None
    skip = 0  # periods at the start of `held` that only serve as context
    for block in regroup(blocks, max(block_length, 8 * context * old)):
        held = block if held is None else torch.cat([held, block], dim=-1)
        ready = held.shape[-1] // old - context
        if ready <= skip:
            continue
        yield filters(held, full=True)[..., skip * new : ready * new]
        drop = max(0, ready - context)
        held, skip = held[..., drop * old :], ready - drop
    if held is not None:
        tail = filters(held, full=True)[..., skip * new : held.shape[-1] * new // old]
        if tail.shape[-1]:
            yield tail
