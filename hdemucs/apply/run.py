"""Apply a model to audio of any length: overlapping chunks in, blended blocks out.

Memory depends on the segment and the batch size, never on the length of the track.

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

from hdemucs.apply.chunks import Chunk, batches, cut, drop_start, overlap_add, prepend_silence, weighted_sum
from hdemucs.apply.options import Options, Progress
from hdemucs.errors import OptionError
from hdemucs.memory import keep_freed_memory
from hdemucs.model import Bag, Model, Network
from hdemucs.model.demucs import center_trim
from hdemucs.model.fast import prepare

MAX_SHIFT = 0.5
"""Upper bound of the delays in the shift trick, in seconds (arXiv 1911.13254)."""


def apply(
    model: Model,
    blocks: Iterable[Tensor],
    options: Options | None = None,
    *,
    sources: Sequence[str] | None = None,
    length: int | None = None,
) -> Iterator[Tensor]:
    """Separate a stream of audio, block by block.

    The stream is cut into overlapping chunks of one segment each. Every chunk is separated on its own and
    cross-faded into the next with triangular weights. A network that needs more input than its segment gets
    the neighbouring audio, with zeros only beyond the ends of the track. The members of a bag and the passes
    of the shift trick advance side by side over the same stream.

    Args:
        model: Network or bag; it is moved to the device and stays there.
        blocks: Audio `[C, L]` in blocks of any lengths, in order, float32 at the model's sample rate.
        options: Segment, overlap, device and so on; see `Options`.
        sources: Sources to return, in this order; None for all of the model's. Members of a bag that have no
            weight for them are not run.
        length: Length of the track in samples, None if unknown; used for `Progress.total`, and to save memory
            on short tracks.

    Yields:
        Blocks `[S, C, L]` on the CPU. Their total length is that of the input, their boundaries are not.

    Raises:
        OptionError: The model does not have one of the sources, or the device is not available.
        Cancelled: The progress callback cancelled the separation.
    """
    options = options or Options()
    sources = model.sources if sources is None else list(sources)
    unknown = [source for source in sources if source not in model.sources]
    if unknown:
        raise OptionError(
            f"the model has no source {', '.join(unknown)}; choose from {', '.join(model.sources)}"
        )
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
    """Separate a full track in memory.

    Args:
        model: Network or bag; it is moved to the device and stays there.
        mix: Audio `[C, L]`, float32 at the model's sample rate.
        options: Segment, overlap, device and so on; see `Options`.
        sources: Sources to return, in this order; None for all of the model's.

    Returns:
        Separated sources `[S, C, L]` on the CPU.

    Raises:
        OptionError: The model does not have one of the sources, or the device is not available.
        Cancelled: The progress callback cancelled the separation.
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
    """One network applied to the full track.

    Attributes:
        network: Network to apply.
        weights: Share of this pass in the result, `[S, 1, 1]`.
        indexes: Indexes of the S wanted sources among the network's outputs.
        segment_length: Length of a chunk in samples.
        stride: Samples between the starts of chunks.
        lead: Length in samples of the silence by which the shift trick delays the track.
    """

    network: Network
    weights: Tensor
    indexes: list[int]
    segment_length: int
    stride: int
    lead: int


def _passes(model: Model, sources: Sequence[str], options: Options, length: int | None) -> list[_Pass]:
    """One pass for every network and shift that the sources need; for each source, the weights sum to one."""
    indexes = [model.sources.index(source) for source in sources]
    members = list(model.members(indexes)) if isinstance(model, Bag) else [(model, [1.0] * len(indexes))]
    total = torch.tensor([weights for _, weights in members]).sum(0)
    shifts = max(1, options.shifts)
    passes = []
    for network, weights in members:
        seconds = network.segment if options.segment is None else options.segment
        segment_length = max(1, int(network.sample_rate * seconds))
        stride = max(1, int((1 - options.overlap) * segment_length))
        share = (torch.tensor(weights) / total / shifts)[:, None, None]
        for shift in range(shifts):
            lead = int(MAX_SHIFT * network.sample_rate) * shift // shifts
            lengths = (segment_length, stride)
            # A track within one stride is a single chunk; weights for a full segment would waste memory.
            if length and lead + length <= stride:
                lengths = (lead + length, lead + length)
            passes.append(_Pass(network, share, indexes, *lengths, lead))
    return passes


def _run_passes(
    passes: Sequence[_Pass],
    blocks: Iterable[Tensor],
    options: Options,
    device: torch.device,
    length: int | None,
) -> Iterator[Tensor]:
    """Weighted sum of all passes, in blocks `[S, C, L]`."""
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
            pool = stack.enter_context(_thread_pool(options.jobs))
        # Passes of the shift trick share their network.
        dtype = options.inner_dtype(device)
        prepared = {current.network: prepare(current.network, dtype) for current in passes}
        streams = [
            map(report, _run_pass(current, prepared[current.network], copy, options, device, pool))
            for current, copy in zip(passes, itertools.tee(blocks, len(passes)), strict=True)
        ]
        yield from weighted_sum(streams, [current.weights for current in passes])


def _run_pass(
    current: _Pass,
    network: Network,
    blocks: Iterable[Tensor],
    options: Options,
    device: torch.device,
    pool: ThreadPoolExecutor | None,
) -> Iterator[Tensor]:
    """Finished blocks `[S, C, L]` of one pass by a prepared network, aligned with the undelayed track."""

    def forward(batch: Sequence[Chunk]) -> list[Tensor]:
        mix = torch.stack([chunk.padded for chunk in batch]).to(device)
        with torch.inference_mode():
            out = center_trim(network(mix)[:, current.indexes], batch[0].length)
        return list(out.cpu())

    segment_length, stride = current.segment_length, current.stride
    delayed = prepend_silence(blocks, current.lead)
    chunks = cut(delayed, segment_length, stride, current.network.valid_length)
    outputs = _in_order(forward, batches(chunks, options.batch_size), pool, options.jobs)
    yield from drop_start(overlap_add(outputs, segment_length, stride), current.lead)


def _in_order(
    forward: Callable[[Sequence[Chunk]], list[Tensor]],
    work: Iterable[list[Chunk]],
    pool: ThreadPoolExecutor | None,
    jobs: int,
) -> Iterator[Tensor]:
    """Outputs of all batches in order; with a pool, `jobs` batches are computed at the same time."""
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
def _thread_pool(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Pool of `jobs` threads that share torch's own threads between them."""
    threads = torch.get_num_threads()
    share = max(1, threads // jobs)
    try:
        with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
