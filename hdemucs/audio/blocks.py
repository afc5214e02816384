"""Blocks, the currency of this package: float32 tensors `[channels, n]` with n >= 1."""

from collections.abc import Generator, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

# 1.5 s at 44.1 kHz: large enough that Python's overhead vanishes, small enough (0.5 MB in stereo) for
# the processor's cache.
BLOCK_LENGTH = 65536


def regroup(blocks: Iterable[Tensor], length: int = BLOCK_LENGTH) -> Iterator[Tensor]:
    """Cut a stream into blocks of equal length; only the last may be shorter.

    Args:
        blocks: Tensors `[..., n]` with n >= 0, consecutive along the last axis.
        length: Number of samples in each block.

    Raises:
        ValueError: `length` is less than 1.
    """
    if length < 1:
        raise ValueError(f"blocks need at least 1 sample, not {length}")
    return _regroup(blocks, length)


def _regroup(blocks: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    pending: list[Tensor] = []
    held = 0
    for block in blocks:
        pending.append(block)
        held += block.shape[-1]
        if held < length:
            continue
        joined = torch.cat(pending, dim=-1)
        whole = held - held % length
        yield from joined[..., :whole].split(length, dim=-1)
        pending, held = [joined[..., whole:]], held - whole
    if held:
        yield torch.cat(pending, dim=-1)


def drop(blocks: Iterable[Tensor], length: int) -> Generator[Tensor, None, None]:
    """Leave out the first `length` samples of a stream of blocks `[..., n]`."""
    for block in blocks:
        if length < block.shape[-1]:
            yield block[..., length:]
        length = max(0, length - block.shape[-1])


def interleaved(block: Tensor) -> np.ndarray:
    """Samples of a block `[channels, n]` in the order of audio files, `[n, channels]`, contiguous."""
    return np.ascontiguousarray(block.T.numpy())
