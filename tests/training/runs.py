"""Whole runs on small songs, and what is compared between them."""

import os
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from hdemucs.cli import main
from hdemucs.training.run import Run
from tests.training.songs import SMALL

REPOSITORY = Path(__file__).parents[2]


def arguments(songs: Path, out: Path, *more: str) -> list[str]:
    """Arguments of `hdemucs` for a run that takes a second."""
    return ["train", "--config", "debug", f"data={songs}", "-o", str(out), *SMALL, *more]


def train(songs: Path, out: Path, *more: str) -> int:
    """Train in this process; returns the exit status."""
    return main(arguments(songs, out, *more))


def resume(run: Run) -> int:
    """Resume a run in this process; returns the exit status."""
    return main(["train", "--resume", str(run.folder)])


def copied(run: Run, folder: Path, **changes: object) -> Run:
    """Copy of a run that can be resumed, with some top-level settings changed."""
    copy = Run(folder)
    for name in ("initial", "checkpoint", "metrics"):
        getattr(copy, name).write_bytes(getattr(run, name).read_bytes())
    settings = yaml.safe_load(run.config.read_text())
    copy.config.write_text(yaml.safe_dump({**settings, **changes}))
    return copy


def run_python(*argv: str) -> None:
    """Run a module of the tests in a process of its own, with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-m", *argv], env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()


def run_two_processes(*argv: str) -> None:
    """Run `hdemucs` in two processes that train together."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run_python(*launcher, "-m", "tests.training.processes", *argv)


def losses(run: Run) -> list[tuple[int, float]]:
    """Number and loss of each step of a run."""
    return [(line["total_steps"], line["loss"]) for line in run.history("step")]


def same_run(run: Run, other: Run) -> bool:
    """Whether two runs have the same losses and scores, and ended with the same model."""
    first, second = load_file(run.best), load_file(other.best)
    return (
        losses(run) == losses(other)
        and run.history("epoch") == other.history("epoch")
        and all(torch.equal(first[name], second[name]) for name in first)
    )
