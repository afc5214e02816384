"""Searches for faults: a case for each seed, tried in another process, which may hang, crash or grow.

    pytest -m fuzz --mutants 10000 --kills 26 --disks 100 --first-seed 1000

searches for longer than an ordinary run does, and elsewhere. A fault is named by its seed, and becomes a test
of its own; how much was tried is said at the end.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

SECONDS = 5.0
"""Longest that a case may compute; most take a few milliseconds."""
HANG = 300.0
"""Seconds by the clock after which a case is ended: others may slow it, and the first imports torch."""
MEMORY = 1024.0
"""MiB by which a case may raise the memory of its process."""


@dataclass
class Search:
    """What a search found.

    Attributes:
        seeds: Seeds of its cases.
        refused: Number of cases that were refused, as most broken files are.
        hangs: Seeds that never came to an end.
        faults: What went wrong, by seed; hangs included.
        slowest: Longest time that a case computed, in seconds.
        peak: Most memory that a process of the search took, in MiB; 0 where that is not known.
    """

    seeds: range
    refused: int = 0
    hangs: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    slowest: float = 0.0
    peak: float = 0.0

    def __str__(self) -> str:
        return (
            f"{len(self.seeds)} cases, seeds from {self.seeds.start}: {self.refused} refused, "
            f"{len(self.faults)} failed, {len(self.hangs)} of them hung; "
            f"slowest {self.slowest:.2f} s, peak memory {self.peak:.0f} MiB"
        )


@dataclass(frozen=True)
class _Outcome:
    refused: bool
    fault: str
    seconds: float
    peak: float


def search(case: Callable[[int], bool], seeds: range) -> Search:
    """Try a case for every seed.

    Args:
        case: Tries a seed, and returns whether it was refused; whatever it raises is a fault. It can be
            pickled.
        seeds: Seeds to try.
    """
    found = Search(seeds)
    # Not forked: torch's threads survive no fork.
    context = multiprocessing.get_context("spawn")
    left = seeds
    while left:
        ours, theirs = context.Pipe()
        process = context.Process(target=_try_all, args=(case, left, theirs))
        process.start()
        theirs.close()
        for seed in left:
            left = left[1:]
            fault = _follow(found, seed, ours)
            if fault:
                found.faults[seed] = fault
                break
        process.kill()
        process.join()
        ours.close()
    return found


def _follow(found: Search, seed: int, child: Connection) -> str:
    """Wait for the outcome of a case; returns a fault that its process did not survive."""
    if not child.poll(HANG):
        found.hangs.append(seed)
        return f"no end after {HANG:.0f} s"
    try:
        outcome: _Outcome = child.recv()
    except EOFError:
        return "the interpreter crashed"
    found.refused += outcome.refused
    found.slowest = max(found.slowest, outcome.seconds)
    grown = outcome.peak - found.peak if found.peak else 0.0
    found.peak = max(found.peak, outcome.peak)
    if outcome.fault:
        found.faults[seed] = outcome.fault
    elif outcome.seconds > SECONDS:
        found.faults[seed] = f"it computed for {outcome.seconds:.1f} s"
    elif grown > MEMORY:
        found.faults[seed] = f"it took {grown:.0f} MiB"
    return ""


def _try_all(case: Callable[[int], bool], seeds: range, parent: Connection) -> None:
    for seed in seeds:
        started, refused, fault = time.process_time(), False, ""
        try:
            refused = case(seed)
        except BaseException as error:
            fault = f"{type(error).__name__}: {error}"
        parent.send(_Outcome(refused, fault, time.process_time() - started, _peak()))


def _peak() -> float:
    """Most memory that this process has taken so far, in MiB; 0 on Windows."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
