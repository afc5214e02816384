"""Cutting a stream of audio into overlapping chunks, and fading them into one stream again.

Pure functions on iterators of tensors `[C, L]` (C channels, L samples), free of models and devices.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Chunk:
    """A segment of the track: its length, and the samples `[C, L]` to feed for it, neighbours included."""

    length: int
    padded: Tensor


def cut(
    blocks: Iterable[Tensor], segment: int, stride: int, valid_length: Callable[[int], int]
) -> Iterator[Chunk]:
    """Overlapping segments of a stream, the last ones shorter.

    Args:
        blocks: `[C, L]`, in order.
        segment: samples a chunk.
        stride: samples from one chunk to the next.
        valid_length: samples to feed for a chunk of some length; what is more comes half from each side,
            from real neighbours, and from zeros beyond the track.
    """
    margin = valid_length(1)
    missing = valid_length(segment) - segment
    right = missing - missing // 2
    offset = start = 0
    buffer = _Buffer()

    def chunk(length: int) -> Chunk:
        valid = valid_length(length)
        first = offset - (valid - length) // 2 - start
        return Chunk(length, buffer.window(first, first + valid))

    for block in blocks:
        buffer.append(block)
        while start + buffer.length >= offset + segment + right:
            yield chunk(segment)
            offset += stride
            start += buffer.drop(offset - margin - start)
    end = start + buffer.length
    while offset < end:
        yield chunk(min(segment, end - offset))
        offset += stride


class _Buffer:
    """Blocks `[C, L]` in a row, joined only when somebody looks."""

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []
        self.length = 0

    def append(self, block: Tensor) -> None:
        self.blocks.append(block)
        self.length += block.shape[-1]

    def drop(self, count: int) -> int:
        """Forget `count` samples from the start, none if negative; says how many."""
        count = max(0, count)
        self.blocks = [torch.cat(self.blocks, -1)[..., count:]]
        self.length -= count
        return count

    def window(self, first: int, last: int) -> Tensor:
        """Samples `first` to `last`, with zeros where there are none."""
        self.blocks = [torch.cat(self.blocks, -1)] if len(self.blocks) > 1 else self.blocks
        inside = self.blocks[0][..., max(0, first) : max(0, last)]
        return F.pad(inside, (max(0, -first), max(0, last - self.length)))


def overlap_add(chunks: Iterable[Tensor], segment: int, stride: int) -> Iterator[Tensor]:
    """Fade overlapping chunks into one another.

            /\\    /\\
           /  \\  /  \\       triangular weights, divided by their sum: where two chunks overlap by
          /    \\/    \\      less than half, a linear transition
         /     /\\     \\

    Args:
        chunks: `[..., segment]`, each `stride` samples after the one before; the last may be shorter.
        segment: samples a chunk.
        stride: samples between the starts of chunks, at most `segment`.

    Yields:
        Finished blocks `[..., stride]`, and the rest at the end.
    """
    rising = torch.arange(1, segment // 2 + 1)
    falling = torch.arange(segment - segment // 2, 0, -1)
    weight = torch.cat([rising, falling]).float()
    weight = weight / weight.max()
    total: Tensor | None = None
    total_weight = torch.zeros(segment)
    length = 0
    for chunk in chunks:
        if total is None:
            total = torch.zeros(*chunk.shape[:-1], segment)
        else:
            yield total[..., :stride] / total_weight[:stride]
            total = F.pad(total[..., stride:], (0, stride))
            total_weight = F.pad(total_weight[stride:], (0, stride))
        length = chunk.shape[-1]
        total[..., :length] += weight[:length] * chunk
        total_weight[:length] += weight[:length]
    if total is not None:
        yield total[..., :length] / total_weight[:length]


def batches(chunks: Iterable[Chunk], size: int) -> Iterator[list[Chunk]]:
    """Up to `size` consecutive chunks of the same length."""
    batch: list[Chunk] = []
    for chunk in chunks:
        if batch and (len(batch) == size or chunk.length != batch[0].length):
            yield batch
            batch = []
        batch.append(chunk)
    if batch:
        yield batch


def after_silence(blocks: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    for index, block in enumerate(blocks):
        if index == 0 and length:
            yield block.new_zeros(block.shape[0], length)
        yield block


def without_start(blocks: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    for block in blocks:
        skipped = min(length, block.shape[-1])
        length -= skipped
        if skipped < block.shape[-1]:
            yield block[..., skipped:]


def weighted_sum(streams: Sequence[Iterator[Tensor]], weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """Sum of streams that are cut into blocks at different places; all are equally long in the end."""
    if len(streams) == 1:
        yield from streams[0]
        return
    heads: list[Tensor | None] = [next(stream, None) for stream in streams]
    while all(head is not None for head in heads):
        ready = [head for head in heads if head is not None]
        length = min(head.shape[-1] for head in ready)
        yield torch.stack([h[..., :length] * w for h, w in zip(ready, weights, strict=True)]).sum(0)
        heads = [
            head[..., length:] if head.shape[-1] > length else next(stream, None)
            for head, stream in zip(ready, streams, strict=True)
        ]
