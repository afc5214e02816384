"""Training runs in separate processes: killed in several places, or several processes for one run.

    python -m tests.training.processes ARGUMENTS

runs `hdemucs ARGUMENTS`. Launched by torchrun, every process saves its first gradients; with songs to be
synthesised, the main process takes longer over the scan and over the songs than the group of processes waits.
As a single process, it trains in child processes, each resuming the run of the one before, and each killed in
another place.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import torch

from hdemucs.cli import main
from hdemucs.separator import Separator
from hdemucs.synthesis import dataset, song
from hdemucs.training import start
from hdemucs.training.objective.objective import Objective
from hdemucs.training.trainer import Trainer
from tests.training.songs import make_tones

PATIENCE = 4.0
"""Seconds that processes wait for one another in `be_slow`."""
PLACES: list[tuple[Any, str, int]] = [
    (Objective, "__call__", 6),
    (torch, "save", 1),
    (Separator, "separate", 1),
    (torch, "save", 0),
]
"""Functions during which to die, each after a number of calls: step, checkpoint, validation, checkpoint."""

save, backward = torch.save, Trainer.backward


def saving_gradients(self: Trainer, stems: torch.Tensor, known: torch.Tensor) -> dict[str, float]:
    """`Trainer.backward`, which in the first step saves the number of examples, loss and gradients."""
    values = backward(self, stems, known)
    file = self.run.folder / f"gradients_{self.accelerator.process_index}.pt"
    if not file.exists():
        gradients = {name: parameter.grad for name, parameter in self.network.named_parameters()}
        save((len(stems), values["loss"], gradients), file)
    return values


def dying(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """Wrap a function so that the process is killed during a call, once a number of calls have succeeded."""

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls -= 1
        if calls < 0:
            if function is save:
                args[1].write(b"half of a checkpoint")
                args[1].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call


def be_slow() -> None:
    """Let the main process scan and synthesise for longer than any exchange between processes may take."""
    start._prepare = slow(start._prepare)
    dataset.make = make_tones_slowly
    song.require_sounds = require_nothing
    torch.distributed.init_process_group = partial(
        torch.distributed.init_process_group, timeout=timedelta(seconds=PATIENCE)
    )


def require_nothing(*, held_out: bool = True) -> None:
    """Stand in for `hdemucs.synthesis.song.require_sounds`."""


def make_tones_slowly(task: dataset.Task) -> None:
    """Stand in for `hdemucs.synthesis.dataset.make`."""
    slow(make_tones)(task)


def slow(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that it takes longer than processes wait for one another."""

    def call(*args: Any, **kwargs: Any) -> Any:
        time.sleep(1.5 * PATIENCE)
        return function(*args, **kwargs)

    return call


def train_and_die(argv: Sequence[str]) -> None:
    """Train, dying in each of the places; forking is cheaper than a new process that imports torch."""
    folder = argv[argv.index("-o") + 1]
    for owner, name, calls in PLACES:
        child = os.fork()
        if child == 0:
            setattr(owner, name, dying(getattr(owner, name), calls))
            os._exit(main(argv))
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"lived through {name}"
        assert os.WTERMSIG(status) == signal.SIGKILL
        argv = ["train", "--resume", folder]


if __name__ == "__main__":
    if "RANK" in os.environ:
        if "synthesis.songs=1" in sys.argv:
            be_slow()
        Trainer.backward = saving_gradients  # type: ignore[method-assign]
        sys.exit(main(sys.argv[1:]))
    train_and_die(sys.argv[1:])
