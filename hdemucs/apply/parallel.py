"""What runs beside the model: threads that compute batches, and a thread that decodes ahead of them."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from hdemucs.apply import devices
from hdemucs.workers import thread_pool

Task = TypeVar("Task")

READ_AHEAD = 4
"""Number of blocks that are decoded before they are needed."""


@dataclass(frozen=True)
class Pool:
    """Threads that separate batches.

    Attributes:
        threads: The threads.
        ahead: Number of batches that are handed to them before the result of the first is awaited.
    """

    threads: ThreadPoolExecutor
    ahead: int


def pool_for(device: torch.device, jobs: int, stack: ExitStack) -> Pool | None:
    """Start the threads that keep a device busy.

    One more batch is waiting than are at work, so that none of them waits for the reading and writing around
    them.

    Args:
        device: Device that the batches are computed on.
        jobs: Number of batches at a time on a CPU, which share torch's threads.
        stack: Stack that ends the threads.

    Returns:
        Threads, or None for one batch after another on the CPU.
    """
    if device.type != "cpu":
        count = devices.streams(device)
        threads = ThreadPoolExecutor(count, initializer=devices.enter_stream, initargs=(device,))
        return Pool(stack.enter_context(threads), count + 1)
    return Pool(stack.enter_context(thread_pool(jobs)), jobs + 1) if jobs > 1 else None


def in_order(
    run: Callable[[Task], list[Tensor]], work: Iterable[Task], pool: Pool | None
) -> Iterator[Tensor]:
    """Results of all batches in order; with a pool, several batches are computed at the same time."""
    if pool is None:
        for batch in work:
            yield from run(batch)
        return
    running: deque[Future[list[Tensor]]] = deque()
    try:
        for batch in work:
            running.append(pool.threads.submit(run, batch))
            if len(running) == pool.ahead:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def read_ahead(blocks: Iterable[Tensor]) -> Generator[Tensor, None, None]:
    """The same blocks, produced by a thread up to `READ_AHEAD` blocks before they are needed."""
    iterator = iter(blocks)
    thread = ThreadPoolExecutor(1)
    try:
        pending = deque(thread.submit(next, iterator, None) for _ in range(READ_AHEAD))
        while (block := pending.popleft().result()) is not None:
            pending.append(thread.submit(next, iterator, None))
            yield block
    finally:
        thread.shutdown(cancel_futures=True)
