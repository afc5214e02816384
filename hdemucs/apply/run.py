"""Applying a model to audio of any length: overlapping chunks in, overlap-added blocks out.

What is kept in memory depends on the segment and the batch, never on the length of the track.

Letters in shapes: S sources, C channels, L samples.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from hdemucs.apply.chunks import Chunk, after_silence, batches, cut, overlap_add, weighted_sum, without_start
from hdemucs.apply.options import Options, Progress
from hdemucs.errors import OptionError
from hdemucs.memory import keep_freed_memory
from hdemucs.model import Bag, Model, Network
from hdemucs.model.demucs import center_trim

MAX_SHIFT = 0.5
"""Seconds within which the shift trick moves the track (arXiv 1911.13254)."""


def apply(
    model: Model,
    blocks: Iterable[Tensor],
    options: Options | None = None,
    *,
    sources: Sequence[str] | None = None,
    length: int | None = None,
) -> Iterator[Tensor]:
    """Separate a stream of audio, block by block.

    Each segment is separated on its own, with real neighbours where the network wants more than its
    segment and zeros only beyond the track, and faded into the next by triangular weights. The members of a
    bag and the passes of the shift trick run side by side over the same stream.

    Args:
        model: a network or a bag; moved to the device and left there.
        blocks: `[C, L]` of any lengths, in order, at the model's sample rate, float32.
        options: how; see `Options`.
        sources: which of the model's sources to return, in this order; all if None. Members of a bag that
            have no weight in these are not run.
        length: samples in all blocks, where known, for `Progress.total`.

    Yields:
        `[S, C, L]` on the CPU, of other lengths than the blocks that came in, but together as long.

    Raises:
        OptionError: a source that the model does not have.
        Cancelled: the progress callback asked for it.
    """
    options = options or Options()
    sources = model.sources if sources is None else list(sources)
    unknown = [source for source in sources if source not in model.sources]
    if unknown:
        raise OptionError(f"the model has no {', '.join(unknown)}, only {', '.join(model.sources)}")
    keep_freed_memory()
    device = options.torch_device()
    model.to(device)
    training = model.training
    model.eval()
    try:
        yield from _run_passes(_passes(model, sources, options, length), blocks, options, device, length)
    finally:
        model.train(training)


def apply_model(
    model: Model, mix: Tensor, options: Options | None = None, *, sources: Sequence[str] | None = None
) -> Tensor:
    """Separate a whole track in memory: `apply` with its blocks gathered.

    Args:
        model: a network or a bag.
        mix: `[C, L]`, at the model's sample rate, float32.
        options: how; see `Options`.
        sources: which sources to return; all if None.

    Returns:
        `[S, C, L]` on the CPU.
    """
    count = len(model.sources if sources is None else sources)
    out = torch.empty(count, *mix.shape)
    position = 0
    for block in apply(model, [mix.cpu()], options, sources=sources, length=mix.shape[-1]):
        out[..., position : position + block.shape[-1]] = block
        position += block.shape[-1]
    return out


@dataclass(frozen=True)
class _Pass:
    """One network over the whole track, moved by `lead` samples of silence."""

    network: Network
    weights: Tensor
    indexes: list[int]
    segment: int
    stride: int
    lead: int


def _passes(model: Model, sources: Sequence[str], options: Options, length: int | None) -> list[_Pass]:
    """All networks and shifts that the sources need, their weights adding up to one a source."""
    indexes = [model.sources.index(source) for source in sources]
    members = list(model.members(indexes)) if isinstance(model, Bag) else [(model, [1.0] * len(indexes))]
    total = torch.tensor([weights for _, weights in members]).sum(0)
    shifts = max(1, options.shifts)
    passes = []
    for network, weights in members:
        seconds = network.segment if options.segment is None else options.segment
        segment = max(1, int(network.sample_rate * seconds))
        stride = max(1, int((1 - options.overlap) * segment))
        share = (torch.tensor(weights) / total / shifts)[:, None, None]
        for index in range(shifts):
            lead = int(MAX_SHIFT * network.sample_rate) * index // shifts
            # A track within one stride is one chunk: weights for more of a segment would only take memory.
            size = (segment, stride)
            if length and lead + length <= stride:
                size = (lead + length, lead + length)
            passes.append(_Pass(network, share, indexes, *size, lead))
    return passes


def _run_passes(
    passes: Sequence[_Pass],
    blocks: Iterable[Tensor],
    options: Options,
    device: torch.device,
    length: int | None,
) -> Iterator[Tensor]:
    rate = passes[0].network.sample_rate
    finished = 0

    def report(block: Tensor) -> Tensor:
        nonlocal finished
        finished += block.shape[-1]
        if options.progress is not None:
            done = finished / len(passes) / rate
            options.progress(Progress(done, None if length is None else length / rate))
        return block

    with ExitStack() as stack:
        pool = None
        if options.jobs > 1 and device.type == "cpu":
            pool = stack.enter_context(_pool(options.jobs))
        streams = [
            map(report, _run_pass(one, copy, options.batch_size, device, pool, options.jobs))
            for one, copy in zip(passes, itertools.tee(blocks, len(passes)), strict=True)
        ]
        yield from weighted_sum(streams, [one.weights for one in passes])


def _run_pass(
    one: _Pass,
    blocks: Iterable[Tensor],
    batch_size: int,
    device: torch.device,
    pool: ThreadPoolExecutor | None,
    jobs: int,
) -> Iterator[Tensor]:
    """Finished blocks `[S, C, L]` of one network, aligned with the track."""

    def forward(batch: Sequence[Chunk]) -> list[Tensor]:
        mix = torch.stack([chunk.padded for chunk in batch]).to(device)
        with torch.inference_mode():
            out = center_trim(one.network(mix)[:, one.indexes], batch[0].length)
        return list(out.cpu())

    chunks = cut(after_silence(blocks, one.lead), one.segment, one.stride, one.network.valid_length)
    outputs = _in_order(forward, batches(chunks, batch_size), pool, jobs)
    yield from without_start(overlap_add(outputs, one.segment, one.stride), one.lead)


def _in_order(
    forward: Callable[[Sequence[Chunk]], list[Tensor]],
    work: Iterable[list[Chunk]],
    pool: ThreadPoolExecutor | None,
    jobs: int,
) -> Iterator[Tensor]:
    """Outputs of all batches in order, `jobs` of them under way at once where there is a pool."""
    if pool is None:
        for batch in work:
            yield from forward(batch)
        return
    running: deque[Future[list[Tensor]]] = deque()
    try:
        for batch in work:
            running.append(pool.submit(forward, batch))
            if len(running) == jobs:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()
    finally:
        for future in running:
            future.cancel()


@contextmanager
def _pool(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that share the cores: each runs torch on its part of them."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            jobs, initializer=torch.set_num_threads, initargs=(max(1, threads // jobs),)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
