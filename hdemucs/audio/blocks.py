"""The currency of this package: a block is a float32 tensor `[channels, n]` with n >= 1."""

from collections.abc import Generator, Iterable, Iterator

import torch
from torch import Tensor

# 1.5 s at 44.1 kHz: large enough that Python's overhead vanishes, small enough (0.5 MB in stereo) for
# the processor's cache.
BLOCK_FRAMES = 65536


def regroup(blocks: Iterable[Tensor], frames: int = BLOCK_FRAMES) -> Iterator[Tensor]:
    """Cut a stream anew, into blocks of `frames` frames; only the last may be shorter.

    Args:
        blocks: tensors `[..., n]` with n >= 0, to be joined along the last axis.
        frames: length of the blocks to make.

    Raises:
        ValueError: `frames` is less than 1.
    """
    if frames < 1:
        raise ValueError(f"blocks need at least 1 frame, not {frames}")
    return _regroup(blocks, frames)


def _regroup(blocks: Iterable[Tensor], frames: int) -> Iterator[Tensor]:
    pending: list[Tensor] = []
    held = 0
    for block in blocks:
        pending.append(block)
        held += block.shape[-1]
        if held < frames:
            continue
        joined = torch.cat(pending, dim=-1)
        whole = held - held % frames
        yield from joined[..., :whole].split(frames, dim=-1)
        pending, held = [joined[..., whole:]], held - whole
    if held:
        yield torch.cat(pending, dim=-1)


def drop(blocks: Iterable[Tensor], frames: int) -> Generator[Tensor, None, None]:
    """Leave out the first `frames` frames of a stream of blocks `[..., n]`; a generator."""
    for block in blocks:
        if frames < block.shape[-1]:
            yield block[..., frames:]
        frames = max(0, frames - block.shape[-1])
