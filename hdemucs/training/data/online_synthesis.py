"""Songs synthesised while a network trains: new ones for every epoch, none used twice."""

import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from hdemucs.datasets import STEM_STREAMS, Song, TrainingSong
from hdemucs.errors import SynthesisError, install_extra
from hdemucs.synthesis.score.notes import RATE
from hdemucs.training.config.schema import SynthesisSettings
from hdemucs.training.interrupt import Interrupt
from hdemucs.workers import worker_pool

log = logging.getLogger("hdemucs.training")

_REPORT_SECONDS = 60
"""Time between two messages about the songs that are left."""


def require_synthesis(settings: SynthesisSettings) -> None:
    """Check that the songs that settings ask for can be synthesised, before a run begins.

    Raises:
        SynthesisError: Sounds, voices or packages that synthesis needs are missing.
    """
    if settings.songs > 0:
        with _needs_extra():
            from hdemucs.synthesis import song  # takes a second, and few runs need it

            song.require_sounds()


@contextmanager
def _needs_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise SynthesisError(
            f"synthesising songs needs the package {error.name}: {install_extra('synthesis')}"
        ) from error


class OnlineSynthesis:
    """Synthesises songs in worker processes: those of the next epoch while the network trains on this one's.

    Songs depend only on the seed of the run and the epoch, so a resumed run trains on the same ones. This is
    a context manager, to be entered before calling `prepare`. On exit it waits for the songs in progress, and
    deletes all songs unless an exception, such as an interrupt, ended the training early.

    Args:
        settings: Number and duration of the songs of an epoch, and number of processes; 0 songs switch
            synthesis off.
        folder: Folder for the songs of two epochs; a song of 32 s takes 28 MB.
        epochs: Number of epochs in the run.
        seed: Seed of the run.
        main: Whether this is the main process, which synthesises the songs; the others only read them.

    Raises:
        WorkerError: A worker was killed, usually for lack of memory; raised on exit.
    """

    def __init__(
        self, settings: SynthesisSettings, folder: Path, *, epochs: int, seed: int, main: bool = True
    ) -> None:
        self._settings = settings
        self._epochs = epochs
        # Far from the seeds of songs that people synthesise for evaluation or publication.
        self._first_seed = (1 + seed) * 1_000_000
        self._folder = folder
        self._active = main and settings.songs > 0
        self._pool: ProcessPoolExecutor | None = None
        self._cleanup = ExitStack()
        self._pending: dict[int, list[Future[None]]] = {}

    def __enter__(self) -> "OnlineSynthesis":
        if self._active:
            workers = worker_pool(self._settings.jobs, remedy="lower synthesis.jobs and resume the run")
            self._pool = self._cleanup.enter_context(workers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, trace)
        self._pending.clear()
        if self._active and kind is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def songs(self, epoch: int) -> list[TrainingSong]:
        """Songs of an epoch, counted from 0, whether or not they exist yet; all songs are equally long."""
        length = round(self._settings.seconds * RATE)
        return [TrainingSong(Song(path, _files(path)), RATE, length) for path in self._paths(epoch).values()]

    def prepare(self, epoch: int, interrupt: Interrupt) -> bool:
        """Wait until the songs of an epoch exist, then start on those of the next one.

        Returns:
            False if the wait was interrupted.

        Raises:
            SynthesisError: Sounds, voices or packages that synthesis needs are missing.
            OutputError: The folder cannot be written, or the disk is full.
        """
        if not self._active:
            return True
        for past in self._folder.glob("*"):
            if past.name not in (self._name(epoch), self._name(epoch + 1)):
                shutil.rmtree(past, ignore_errors=True)
        with _needs_extra():
            self._begin(epoch)
            if not self._wait(epoch, interrupt):
                return False
            if epoch + 1 < self._epochs:
                self._begin(epoch + 1)
        return True

    def _begin(self, epoch: int) -> None:
        """Submit the songs that do not exist yet; an interrupted run may have left some."""
        from hdemucs.synthesis.dataset import Task, make  # importing takes a second, and few runs need it

        if epoch not in self._pending:
            assert self._pool is not None
            self._pending[epoch] = [
                self._pool.submit(make, Task(path, seed, self._settings.seconds, False, "wav"))
                for seed, path in self._paths(epoch).items()
                if not path.exists()
            ]

    def _wait(self, epoch: int, interrupt: Interrupt) -> bool:
        songs = pending = set(self._pending.pop(epoch))
        due = 0.0
        while pending and not interrupt.requested:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            for song in done:
                song.result()
            if pending and time.monotonic() >= due:
                due = time.monotonic() + _REPORT_SECONDS
                log.info(
                    "waiting for songs of epoch %d: %d of %d are left; raise synthesis.jobs to speed it up",
                    epoch + 1,
                    len(pending),
                    len(songs),
                )
        return not pending

    def _paths(self, epoch: int) -> dict[int, Path]:
        """Folder of each song of an epoch, by the song's seed."""
        first = self._first_seed + epoch * self._settings.songs
        return {
            seed: self._folder / self._name(epoch) / f"song {seed:09d}"
            for seed in range(first, first + self._settings.songs)
        }

    def _name(self, epoch: int) -> str:
        # The duration is in the name so that songs left from a run with another setting are not reused.
        return f"epoch {epoch + 1}, {self._settings.seconds:g} s"


def _files(song: Path) -> dict[str, tuple[Path, int]]:
    return {name: (song / f"{name}.wav", 0) for name in STEM_STREAMS}
