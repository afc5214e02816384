"""A command on disks with too little room, of every size up to what it needs.

    unshare --mount --map-root-user python -m tests.cli.disks FOLDER

reads a pickled `Trial` from FOLDER/trial, tries it on file systems in memory that are mounted at FOLDER/disk, seen
by no other process, and writes a pickled list of `Outcome` to FOLDER/outcomes.
"""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cli.processes import contents, damaged, hidden, start

NAMESPACE = ("unshare", "--mount", "--map-root-user")


@dataclass(frozen=True)
class Trial:
    """What to try.

    Attributes:
        call: Writes to the disk, and returns an exit status.
        before: Folder whose content is on the disk beforehand; it does not count.
        sizes: Number of sizes to try, of the disk and of its table of files.
    """

    call: Callable[[], int]
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


def outcomes_of(trial: Trial, folder: Path) -> list[Outcome]:
    """Try a call in a namespace of its own; the first outcome is that of a disk with enough room."""
    (folder / "disk").mkdir(exist_ok=True)
    (folder / "trial").write_bytes(pickle.dumps(trial))
    command = [*NAMESPACE, sys.executable, "-m", "tests.cli.disks", str(folder)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    outcomes: list[Outcome] = pickle.loads((folder / "outcomes").read_bytes())
    return outcomes


class _Disk:
    """Mounts file systems one after another.

    Attributes:
        peak: Most pages and files that a call has taken, in addition to those beforehand.
    """

    def __init__(self, trial: Trial, folder: Path) -> None:
        self.trial = trial
        self.place = folder / "disk"
        self.said = folder / "said"
        self.before = contents(trial.before)
        self.whole = self.before
        self.peak = (0, 0)

    def attempt(self, pages: int | None = None, files: int | None = None) -> Outcome:
        """Call on a new disk, with room for some more pages or files; None for enough."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,nr_inodes=9999", "tmpfs", self.place], check=True)
        try:
            shutil.copytree(self.trial.before, self.place, dirs_exist_ok=True)
            first = self._taken()
            room = "size=1g" if pages is None else f"size={4096 * max(1, first[0] + pages)}"
            room += "" if files is None else f",nr_inodes={first[1] + files}"
            subprocess.run(["mount", "-o", f"remount,{room}", self.place], check=True)
            process = start(self.trial.call, self.said)
            while process.is_alive():
                process.join(0.002)
                now = self._taken()
                self.peak = (max(self.peak[0], now[0] - first[0]), max(self.peak[1], now[1] - first[1]))
            if pages is None and files is None:
                self.whole = contents(self.place)
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

    def _taken(self) -> tuple[int, int]:
        state = os.statvfs(self.place)
        return state.f_blocks - state.f_bfree, state.f_files - state.f_ffree


def _evenly(count: int, end: int) -> list[int]:
    """At most `count` whole numbers below `end`, 0 among them."""
    return sorted({end * index // count for index in range(count)} if end else ())


def _run(folder: Path) -> None:
    trial: Trial = pickle.loads((folder / "trial").read_bytes())
    disk = _Disk(trial, folder)
    outcomes = [disk.attempt()]
    pages, files = disk.peak
    outcomes += [disk.attempt(pages=number) for number in _evenly(trial.sizes, pages)]
    outcomes += [disk.attempt(files=number) for number in _evenly(trial.sizes, files)]
    (folder / "outcomes").write_bytes(pickle.dumps(outcomes))


if __name__ == "__main__":
    # The functions to call are pickled by the name of their module, which is not that of this process.
    _run(Path(sys.argv[1]))
