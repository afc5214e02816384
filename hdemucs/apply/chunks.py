"""Cut a stream of audio into overlapping chunks, and blend their outputs back into a stream.

Pure functions on iterators of tensors, independent of models and devices.

Letters in shapes: C channels, L samples.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Chunk:
    """A segment cut from a track.

    Attributes:
        length: Length in samples, without context.
        padded: Samples `[C, valid length]` to feed to the network: the chunk with context on both sides.
    """

    length: int
    padded: Tensor


def cut(
    blocks: Iterable[Tensor], segment_length: int, stride: int, valid_length: Callable[[int], int]
) -> Iterator[Chunk]:
    """Cut a stream into overlapping chunks; the last ones may be shorter than a segment.

    Args:
        blocks: Audio `[C, L]` in blocks of any lengths, in order.
        segment_length: Length of a chunk in samples.
        stride: Samples between the starts of chunks.
        valid_length: Number of samples to feed to the network for a chunk of a given length. Extra context is
            taken equally from both sides: from the track itself, and zeros beyond its ends.
    """
    margin = valid_length(1)
    missing = valid_length(segment_length) - segment_length
    right = missing - missing // 2
    offset = start = 0
    buffer = _Buffer()

    def chunk(length: int) -> Chunk:
        valid = valid_length(length)
        first = offset - (valid - length) // 2 - start
        return Chunk(length, buffer.window(first, first + valid))

    for block in blocks:
        buffer.append(block)
        while start + buffer.length >= offset + segment_length + right:
            yield chunk(segment_length)
            offset += stride
            start += buffer.drop(offset - margin - start)
    end = start + buffer.length
    while offset < end:
        yield chunk(min(segment_length, end - offset))
        offset += stride


class _Buffer:
    """Consecutive blocks `[C, L]`, joined only when they are read."""

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []
        self.length = 0

    def append(self, block: Tensor) -> None:
        self.blocks.append(block)
        self.length += block.shape[-1]

    def drop(self, count: int) -> int:
        """Drop `count` samples from the start, none if negative; returns how many were dropped."""
        count = max(0, count)
        self.blocks = [torch.cat(self.blocks, -1)[..., count:]]
        self.length -= count
        return count

    def window(self, first: int, last: int) -> Tensor:
        """Samples from `first` up to `last`, exclusive; zeros outside the buffer."""
        self.blocks = [torch.cat(self.blocks, -1)] if len(self.blocks) > 1 else self.blocks
        inside = self.blocks[0][..., max(0, first) : max(0, last)]
        return F.pad(inside, (max(0, -first), max(0, last - self.length)))


def overlap_add(chunks: Iterable[Tensor], segment_length: int, stride: int) -> Iterator[Tensor]:
    """Cross-fade overlapping chunks.

            /\\    /\\
           /  \\  /  \\       triangular weights, divided by their sum: a linear transition where
          /    \\/    \\      chunks overlap by less than half
         /     /\\     \\

    Args:
        chunks: Tensors `[..., segment_length]`, each starting `stride` samples after the one before; the last
            ones may be shorter.
        segment_length: Length of a chunk in samples.
        stride: Samples between the starts of chunks, at most `segment_length`.

    Yields:
        After each chunk the block `[..., stride]` that it finishes, and at last the remainder.
    """
    rising = torch.arange(1, segment_length // 2 + 1)
    falling = torch.arange(segment_length - segment_length // 2, 0, -1)
    weight = torch.cat([rising, falling]).float()
    weight = weight / weight.max()
    total: Tensor | None = None
    total_weight = torch.zeros(segment_length)
    length = 0
    for chunk in chunks:
        if total is None:
            total = torch.zeros(*chunk.shape[:-1], segment_length)
        length = chunk.shape[-1]
        total[..., :length] += weight[:length] * chunk
        total_weight[:length] += weight[:length]
        finished = min(stride, length)
        yield total[..., :finished] / total_weight[:finished]
        total = F.pad(total[..., stride:], (0, stride))
        total_weight = F.pad(total_weight[stride:], (0, stride))
    if total is not None and length > stride:
        rest = length - stride
        yield total[..., :rest] / total_weight[:rest]


def batches(chunks: Iterable[Chunk], size: Callable[[], int]) -> Iterator[list[Chunk]]:
    """Group consecutive chunks of the same length, each batch up to the size that is right at its time."""
    batch: list[Chunk] = []
    for chunk in chunks:
        if batch and chunk.length != batch[0].length:
            yield batch
            batch = []
        batch.append(chunk)
        if len(batch) >= size():
            yield batch
            batch = []
    if batch:
        yield batch


def prepend_silence(blocks: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    """Start a stream of blocks `[C, L]` with `length` zeros; an empty stream stays empty."""
    for index, block in enumerate(blocks):
        if index == 0 and length:
            yield block.new_zeros(block.shape[0], length)
        yield block


def drop_start(blocks: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    """Drop the first `length` samples of a stream of blocks `[..., L]`."""
    for block in blocks:
        if length < block.shape[-1]:
            yield block[..., length:]
        length = max(0, length - block.shape[-1])


def weighted_sum(streams: Sequence[Iterator[Tensor]], weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """Weighted sum of streams of equal total length, whose block boundaries may differ.

    Args:
        streams: Streams of blocks `[..., L]`. A single stream is passed through without its weight.
        weights: For each stream, a tensor that broadcasts against its blocks.

    Yields:
        Blocks `[..., L]`, cut wherever any stream's blocks are.
    """
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
