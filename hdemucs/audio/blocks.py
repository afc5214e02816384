"""The currency of this package: a block is a float32 tensor `[channels, n]` with n >= 1."""

from collections.abc import Generator, Iterable, Iterator

import torch
from torch import Tensor

# 1.5 s at 44.1 kHz: large enough that Python's overhead vanishes, small enough (0.5 MB in stereo) for
# the processor's cache.
BLOCK_LENGTH = 65536


def regroup(blocks: Iterable[Tensor], length: int = BLOCK_LENGTH) -> Iterator[Tensor]:
    """Cut a stream anew, into blocks of `length` frames; only the last may be shorter.

    Args:
        blocks: tensors `[..., n]` with n >= 0, to be joined along the last axis.
        length: length of the blocks to make.

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
    """Leave out the first `length` frames of a stream of blocks `[..., n]`; a generator."""
    for block in blocks:
        if length < block.shape[-1]:
            yield block[..., length:]
        length = max(0, length - block.shape[-1])
