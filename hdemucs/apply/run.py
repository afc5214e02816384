"""Apply a model to audio of any length: overlapping chunks in, blended blocks out.

Memory depends on the segment and the batch size, never on the length of the track.

Letters in shapes: S sources, C channels, L samples.
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hdemucs.apply import devices
from hdemucs.apply.chunks import Chunk, batches, cut, drop_start, overlap_add, prepend_silence, weighted_sum
from hdemucs.apply.limits import MemoryLimits, Runner
from hdemucs.apply.options import Options, Progress
from hdemucs.apply.parallel import Pool, in_order, pool_for, read_ahead
from hdemucs.errors import OptionError
from hdemucs.memory import keep_freed_memory
from hdemucs.model import Bag, Model, Network
from hdemucs.model.demucs import center_trim
from hdemucs.model.fast import prepare

MAX_SHIFT = 0.5
"""Upper bound of the delays in the shift trick, in seconds (arXiv 1911.13254)."""

log = logging.getLogger(__name__)


def apply(
    model: Model,
    blocks: Iterable[Tensor],
    options: Options | None = None,
    *,
    sources: Sequence[str] | None = None,
    length: int | None = None,
    live: bool = False,
    notice: Callable[[str], None] = log.warning,
) -> Iterator[Tensor]:
    """Separate a stream of audio, block by block.

    The stream is cut into overlapping chunks of one segment each. Every chunk is separated on its own and
    cross-faded into the next with triangular weights. A network that needs more input than its segment gets
    the neighbouring audio, with zeros only beyond the ends of the track. The members of a bag and the passes
    of the shift trick advance side by side over the same stream.

    Where memory runs out, the batch is halved, then the segment, and the CPU takes over last. While an
    accelerator computes, the next blocks are read, and the results before are passed on.

    Args:
        model: Network or bag; it is moved to the device and stays there.
        blocks: Audio `[C, L]` in blocks of any lengths, in order, float32 at the model's sample rate.
        options: Segment, overlap, device and so on; see `Options`.
        sources: Sources to return, in this order; None for all of the model's. Members of a bag that have no
            weight for them are not run.
        length: Length of the track in samples, None if unknown; used for `Progress.total`, and to save memory
            on short tracks.
        live: Whether each block shall be yielded as soon as the input allows it, for a source that is just
            being recorded: chunks are then separated one by one.
        notice: Function that is told, in one line each, what has changed because memory ran out.

    Yields:
        Blocks `[S, C, L]` on the CPU. Their total length is that of the input, their boundaries are not.

    Raises:
        OptionError: The model does not have one of the sources or takes no segment so long, or the device is
            not available.
        Cancelled: The progress callback cancelled the separation.
    """
    options = options or Options()
    check_segment(model, options)
    sources = model.sources if sources is None else list(sources)
    unknown = [source for source in sources if source not in model.sources]
    if unknown:
        raise OptionError(
            f"the model has no source {', '.join(unknown)}; choose from {', '.join(model.sources)}"
        )
    keep_freed_memory()
    if live:
        options = replace(options, batch_size=1, jobs=1)
    device = _place(model, devices.numbered(options.torch_device()), notice)
    passes = _passes(model, sources, options, length)
    longest = max(current.segment_length for current in passes)
    limits = MemoryLimits(device, options.batch_size, longest, model.sample_rate, notice)
    training = model.training
    model.eval()
    try:
        with ExitStack() as stack:
            pool = None if live else pool_for(device, options.jobs, stack)
            if pool and device.type != "cpu":
                blocks = stack.enter_context(closing(read_ahead(blocks)))
            yield from _run_passes(passes, blocks, options, limits, pool, length)
    finally:
        model.train(training)


def _place(model: Model, device: torch.device, notice: Callable[[str], None]) -> torch.device:
    """Move a model to a device, or to the CPU if it does not fit; returns where it is."""
    try:
        devices.place(model, device)
    except RuntimeError as error:
        if device.type == "cpu" or not devices.is_out_of_memory(error):
            raise
        notice(f"{device} has too little memory for the model: the CPU is used instead")
    else:
        return device
    model.to(devices.CPU)
    devices.release_memory(device)
    return devices.CPU


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
        OptionError: The model does not have one of the sources or takes no segment so long, or the device is
            not available.
        Cancelled: The progress callback cancelled the separation.
    """
    count = len(model.sources if sources is None else sources)
    out = torch.empty(count, *mix.shape)
    position = 0
    for block in apply(model, [mix.cpu()], options, sources=sources, length=mix.shape[-1]):
        out[..., position : position + block.shape[-1]] = block
        position += block.shape[-1]
    return out


def check_segment(model: Model, options: Options) -> None:
    """Raise OptionError if the segment in the options is longer than the model takes."""
    longest = model.longest_segment
    if options.segment is not None and longest is not None and options.segment > longest:
        raise OptionError(
            f"segment must be at most {longest:g} s for this model, the length that it was trained on, not "
            f"{options.segment:g} s"
        )


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
    members = list(model.members(sources)) if isinstance(model, Bag) else [(model, [1.0] * len(sources))]
    total = torch.tensor([weights for _, weights in members]).sum(0)
    shifts = max(1, options.shifts)
    passes = []
    for network, weights in members:
        seconds = network.segment if options.segment is None else options.segment
        segment_length = max(1, int(network.sample_rate * seconds))
        stride = max(1, int((1 - options.overlap) * segment_length))
        indexes = [network.sources.index(source) for source in sources]
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
    limits: MemoryLimits,
    pool: Pool | None,
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

    # Passes of the shift trick share their network.
    dtype = options.inner_dtype(limits.first_device)
    prepared = {current.network: prepare(current.network, dtype) for current in passes}
    streams = [
        map(report, _run_pass(current, prepared[current.network], copy, options, limits, pool))
        for current, copy in zip(passes, itertools.tee(blocks, len(passes)), strict=True)
    ]
    yield from weighted_sum(streams, [current.weights for current in passes])


def _run_pass(
    current: _Pass,
    prepared: Network,
    blocks: Iterable[Tensor],
    options: Options,
    limits: MemoryLimits,
    pool: Pool | None,
) -> Iterator[Tensor]:
    """Finished blocks `[S, C, L]` of one pass by a prepared network, aligned with the undelayed track."""

    def forward(network: Network, batch: Sequence[Chunk], device: torch.device) -> list[Tensor]:
        mix = devices.upload(torch.stack([chunk.padded for chunk in batch]), device)
        with torch.inference_mode():
            out = center_trim(network(mix)[:, current.indexes], batch[0].length)
        return list(devices.download(out))

    segment_length, stride = current.segment_length, current.stride
    delayed = prepend_silence(blocks, current.lead)
    chunks = cut(delayed, segment_length, stride, current.network.valid_length)
    run = Runner(current.network, prepared, forward, limits, options.overlap)
    outputs = in_order(run, batches(chunks, lambda: limits.current.batch_size), pool)
    yield from drop_start(overlap_add(outputs, segment_length, stride), current.lead)
