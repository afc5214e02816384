"""Training batches: songs, excerpts, their order, and augmentation on the device.

Letters in shapes: B batch, S sources, R = S + 1 rows (the last is the rest of the mixture), C channels,
L samples.
"""

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hdemucs.errors import HDemucsError
from hdemucs.training.data.augment import Augment
from hdemucs.training.data.excerpts import Excerpts, Order
from hdemucs.training.data.online_synthesis import OnlineSynthesis
from hdemucs.training.interrupt import Interrupt
from hdemucs.workers import start_worker


class Batches:
    """Batches of one process, epoch by epoch; a context manager, to be entered before `prepare`.

    All randomness depends only on the seed, the epoch and the step, so that a run can be resumed at any step.

    Args:
        excerpts: Function that returns the excerpts of an epoch, counted from 0.
        order: Assignment of excerpts to batches.
        augment: Augmentation of a batch.
        synthesis: Songs synthesised for each epoch, possibly none.
        workers: Number of worker processes that read excerpts; 0 to read them in this process.
        seed: Seed of the augmentation.
        device: Device of the batches.
        rank: Index of this process among those that train together.
    """

    def __init__(
        self,
        excerpts: Callable[[int], Excerpts],
        order: Order,
        augment: Augment,
        synthesis: OnlineSynthesis,
        *,
        workers: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
    ) -> None:
        self.excerpts = excerpts
        self.order = order
        self.augment = augment
        self._synthesis = synthesis
        self._workers = workers
        self._seed = seed
        self._device = device
        self._rank = rank

    def __enter__(self) -> "Batches":
        self._synthesis.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._synthesis.__exit__(kind, error, trace)

    def prepare(self, epoch: int, interrupt: Interrupt) -> bool:
        """Wait until the songs of an epoch, counted from 0, exist; returns False if interrupted."""
        return self._synthesis.prepare(epoch, interrupt)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of each batch of an epoch, augmented.

        Args:
            epoch: Index of the epoch, from 0.
            start: Index of the first step, to resume in the middle of an epoch.

        Yields:
            Rows `[B, R, C, L]` float32, which add up to the mixture, and the mask of the known sources,
            `[B, S]` bool.

        Raises:
            AudioError: A song can no longer be read.
        """
        loader: Any = DataLoader(
            self.excerpts(epoch),
            batch_sampler=list(self.order.batches(epoch, start)),
            num_workers=self._workers,
            worker_init_fn=_start_worker,
            pin_memory=self._device.type == "cuda",
        )
        with _errors_of_workers():
            for step, (stems, known) in enumerate(loader, start):
                generator = step_generator(self._seed, epoch, step, "augment", self._device, self._rank)
                stems, known = stems.to(self._device, non_blocking=True), known.to(self._device)
                yield self.augment(stems, known, generator)


def step_generator(
    seed: int, epoch: int, step: int, purpose: str, device: torch.device, rank: int = 0
) -> torch.Generator:
    """Create the random number generator for one purpose in one step, identical whenever that step is run."""
    words = [seed, epoch, step, rank, *purpose.encode()]
    state = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device).manual_seed(state)


def _start_worker(_: int) -> None:
    start_worker()


@contextlib.contextmanager
def _errors_of_workers() -> Iterator[None]:
    """Reduce the message of an error from a worker, which is a full traceback, to the original message."""
    try:
        yield
    except HDemucsError as error:
        lines = str(error).splitlines()
        if len(lines) > 1:
            raise type(error)(lines[-1].partition(": ")[2]) from None
        raise
