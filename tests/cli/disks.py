"""Commands on disks with too little room, of every size up to what they need.

    unshare --mount --map-root-user python -m tests.cli.disks

reads a pickled `Trial` after the other from stdin, tries it on file systems in memory, which no other process
sees, and writes a pickled list of `Outcome` to stdout.
"""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.cli.processes import contents, damaged, hidden, start

NAMESPACE = ("unshare", "--mount", "--map-root-user")


@dataclass(frozen=True)
class Trial:
    """What to try.

    Attributes:
        call: Writes to the disk, and returns an exit status.
        disk: Folder at which disks are mounted.
        before: Folder whose content is on the disk beforehand; it does not count.
        sizes: Number of sizes to try, of the disk and of its table of files.
    """

    call: Callable[[], int]
    disk: Path
    before: Path
    sizes: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial on one disk.

    Attributes:
        room: Size of the disk, as an option of `mount`.
        status: Exit status.
        said: What the command printed.
        files: Paths of the files on the disk.
        hidden: Hidden files that are left.
        damaged: Files that are neither whole, nor as before, nor as where there is enough room.
    """

    room: str
    status: int
    said: str
    files: frozenset[str]
    hidden: tuple[str, ...]
    damaged: tuple[str, ...]


class Laboratory:
    """A process that tries calls on disks of its own.

    Raises:
        OSError: The system does not let this user mount file systems.
    """

    def __init__(self) -> None:
        namespace = ["unshare", "--mount", "--map-root-user"]
        subprocess.run([*namespace, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True, capture_output=True)
        command = [*namespace, sys.executable, "-m", "tests.cli.disks"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )

    def outcomes(self, trial: Trial) -> list[Outcome]:
        """Outcomes of a trial, the first of which is that of a disk with enough room."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(trial, self._process.stdin)
        self._process.stdin.flush()
        outcomes: list[Outcome] = pickle.load(self._process.stdout)
        return outcomes

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class _Disk:
    """Mounts file systems one after another.

    Attributes:
        peak: Most pages and files that the call takes, in addition to those beforehand.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.place = trial.disk
        self.said = trial.disk.with_name("said")
        self.before = contents(trial.before)
        self.whole = self.before
        self.peak = (0, 0)

    def attempt(self, pages: int | None = None, files: int | None = None) -> Outcome:
        """Call on a new disk, with room for some more pages or files; None for enough."""
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1g,nr_inodes=9999", "tmpfs", self.place], check=True
        )
        try:
            shutil.copytree(self.trial.before, self.place, dirs_exist_ok=True)
            first = self._taken()
            room = "size=1g" if pages is None else f"size={4096 * max(1, first[0] + pages)}"
            room += "" if files is None else f",nr_inodes={first[1] + files}"
            subprocess.run(["mount", "-o", f"remount,{room}", self.place], check=True)
            process = start(self.trial.call, self.said)
            if pages is None and files is None:
                self._watch(process, first)
                self.whole = contents(self.place)
            process.join()
            assert process.exitcode is not None
            return Outcome(
                room,
                process.exitcode,
                self.said.read_text(errors="replace"),
                frozenset(contents(self.place)),
                tuple(hidden(self.place)),
                tuple(damaged(self.place, self.whole, self.before)),
            )
        finally:
            subprocess.run(["umount", self.place], check=True)

    def _watch(self, process: BaseProcess, first: tuple[int, int]) -> None:
        while process.is_alive():
            process.join(0.005)
            now = self._taken()
            self.peak = (max(self.peak[0], now[0] - first[0]), max(self.peak[1], now[1] - first[1]))

    def _taken(self) -> tuple[int, int]:
        state = os.statvfs(self.place)
        return state.f_blocks - state.f_bfree, state.f_files - state.f_ffree


def _evenly(count: int, end: int) -> list[int]:
    """At most `count` whole numbers below `end`, 0 among them."""
    return sorted({end * index // count for index in range(count)} if end else ())


def outcomes_of(trial: Trial) -> list[Outcome]:
    """Try a call on every disk."""
    disk = _Disk(trial)
    outcomes = [disk.attempt()]
    pages, files = disk.peak
    outcomes += [disk.attempt(pages=number) for number in _evenly(trial.sizes, pages)]
    return outcomes + [disk.attempt(files=number) for number in _evenly(trial.sizes, files)]


def serve() -> None:
    """Answer trials until stdin is closed; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            trial: Trial = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(outcomes_of(trial), answers)
        answers.flush()


if __name__ == "__main__":
    from tests.cli import disks

    # Pickles name the module of a class, which is not that of this process.
    disks.serve()
