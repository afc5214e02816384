"""The command in processes that start at once, and what they leave behind when they are killed or fail."""

import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import safetensors
import torch

from hdemucs.cli import main
from hdemucs.tracks import MARK

# Forked from a process that has imported everything but computed nothing, where there is such a thing.
_CONTEXT: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
_PRELOADED = [
    "av",
    "huggingface_hub.file_download",
    "huggingface_hub.utils.tqdm",
    "matplotlib.figure",
    "soundfile",
    "torch.utils.tensorboard",
    "hdemucs.batch",
    "hdemucs.evaluation.benchmark.report",
    "hdemucs.evaluation.benchmark.run",
    "hdemucs.training.start",
    "tests.cli.processes",
]
_APPENDED = re.compile(r".*\.(log|lock)|(.*/)?tensorboard/.*")
"""Files of a run that grow line by line, and locks."""


def command(argv: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run `hdemucs ARGV` with variables added to the environment; returns its exit status."""
    os.environ.update(variables)
    torch.set_num_threads(1)
    return main(argv)


def start(call: Callable[[], int], said: Path) -> BaseProcess:
    """Start a process that calls a function, ends with the status that it returns, and prints to a file."""
    if sys.platform != "win32":
        _CONTEXT.set_forkserver_preload(_PRELOADED)
    process: BaseProcess = _CONTEXT.Process(target=_call, args=(call, said))
    process.start()
    return process


def _call(call: Callable[[], int], said: Path) -> None:
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(call())


def finish(call: Callable[[], int], said: Path) -> float:
    """Run a process to its end, which has to be a success; returns the seconds it took."""
    started = time.monotonic()
    process = start(call, said)
    process.join()
    assert process.exitcode == 0, said.read_text(errors="replace")
    return time.monotonic() - started


def killed(call: Callable[[], int], said: Path, after: float) -> bool:
    """Run a process, and kill it after some seconds; returns whether it was still running."""
    process = start(call, said)
    process.join(after)
    process.kill()
    process.join()
    assert process.exitcode is not None
    assert process.exitcode <= 0, said.read_text(errors="replace")
    return process.exitcode < 0


def contents(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hidden(folder: Path) -> list[str]:
    """Hidden files and folders, except marks of folders of stems and locks of downloads."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob(".*"))
    return sorted(name for name in names if not name.endswith((MARK, ".th.lock")))


def damaged(folder: Path, *whole: Mapping[str, bytes]) -> list[str]:
    """Files that are neither as in one of the `whole` folders nor, where runs differ, readable."""
    return [
        name
        for name, content in contents(folder).items()
        if not any(part.startswith(".") for part in name.split("/"))
        and not _APPENDED.fullmatch(name)
        and not any(content == expected.get(name) for expected in whole)
        and not _readable(folder / name)
    ]


def _readable(path: Path) -> bool:
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".jsonl":
            # A line is appended at a time: only the last one may be half there.
            for line in path.read_text(encoding="utf-8").splitlines()[:-1]:
                json.loads(line)
        elif path.suffix == ".safetensors":
            safetensors.safe_open(path, framework="pt")
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".png":
            return path.read_bytes().endswith(b"IEND\xaeB`\x82")
        else:
            return False
    except Exception:  # each format has its own
        return False
    return True
