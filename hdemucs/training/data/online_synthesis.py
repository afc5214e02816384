"""Songs that are made while a network trains: new ones for each epoch, none is heard in two."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from hdemucs.datasets.songs import STEM_STREAMS, Song
from hdemucs.datasets.training_songs import TrainingSong
from hdemucs.errors import TrainingError
from hdemucs.synthesis.score.notes import RATE
from hdemucs.training.config.schema import Config
from hdemucs.training.interrupt import Interrupt, leave_interrupts_to_parent

log = logging.getLogger("hdemucs.training")


class MadeSongs:
    """Makes `config.synthesis.songs` songs for each epoch, in processes of its own.

    While an epoch is trained on, the next one's are made. They depend on the seed of the run and the number
    of the epoch alone, so a run that is gone on with has the same ones. To be entered before `ready`; when it
    is left, the songs that are being made are finished, and after the whole training all are removed.

    Args:
        config: of the training; with 0 songs nothing is done.
        folder: for the songs of two epochs, 28 MB each if they take 32 s.
        maker: whether this process has them made; if not, it only knows where they will be.
    """

    def __init__(self, config: Config, folder: Path, maker: bool) -> None:
        self._settings = config.synthesis
        self._epochs = config.epochs
        # Far from the seeds that people give to songs that they make, measure and ship.
        self._first = (1 + config.seed) * 1_000_000
        self._folder = folder
        self._maker = maker and self._settings.songs > 0
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: dict[int, list[Future[None]]] = {}

    def __enter__(self) -> "MadeSongs":
        if self._maker:
            jobs = self._settings.jobs
            self._pool = ProcessPoolExecutor(jobs, get_context("spawn"), leave_interrupts_to_parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._waiting.clear()
            if kind is None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def of(self, epoch: int) -> list[TrainingSong]:
        """The songs of an epoch, from 0 on; all epochs' songs are equally long."""
        length = round(self._settings.seconds * RATE)
        return [
            TrainingSong(path.name, Song(path.name, _files(path)), RATE, length)
            for path in self._paths(epoch).values()
        ]

    def ready(self, epoch: int, interrupt: Interrupt) -> bool:
        """Wait until an epoch's songs are there, and have the next one's made; False if interrupted.

        Raises:
            TrainingError: sounds, voices or packages to make songs of are missing, or memory was.
            OutputError: the folder or the disk refuses.
        """
        if not self._maker:
            return True
        for past in self._folder.glob("*"):
            if past.name not in (self._name(epoch), self._name(epoch + 1)):
                shutil.rmtree(past, ignore_errors=True)
        with _explained():
            self._begin(epoch)
            if not self._wait(self._waiting.pop(epoch), interrupt):
                return False
            if epoch + 1 < self._epochs:
                self._begin(epoch + 1)
        return True

    def _begin(self, epoch: int) -> None:
        """Have the songs made that are not there; those of a run that was stopped may be."""
        from hdemucs.synthesis.dataset import Task, make  # a second, and only few trainings need it

        if epoch not in self._waiting:
            assert self._pool is not None
            self._waiting[epoch] = [
                self._pool.submit(make, Task(path, seed, self._settings.seconds, False, "wav"))
                for seed, path in self._paths(epoch).items()
                if not path.exists()
            ]

    def _wait(self, songs: Sequence[Future[None]], interrupt: Interrupt) -> bool:
        if not all(song.done() for song in songs):
            log.info("waits for songs; with more of synthesis.jobs they would be made sooner")
        waiting = set(songs)
        while waiting and not interrupt.asked:
            done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
            for song in done:
                song.result()
        return not waiting

    def _paths(self, epoch: int) -> dict[int, Path]:
        """The folder of each song of an epoch, by its seed."""
        first = self._first + epoch * self._settings.songs
        return {
            seed: self._folder / self._name(epoch) / f"song {seed:09d}"
            for seed in range(first, first + self._settings.songs)
        }

    def _name(self, epoch: int) -> str:
        # Songs that were made before somebody changed how long they last are others.
        return f"epoch {epoch + 1}, {self._settings.seconds:g} s"


def _files(song: Path) -> dict[str, tuple[Path, int]]:
    return {name: (song / f"{name}.wav", 0) for name in STEM_STREAMS}


@contextmanager
def _explained() -> Iterator[None]:
    """What goes wrong in the other processes, as errors with a remedy."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"to make songs takes more packages ({error.name} is not here); pip install 'hdemucs[synthesis]'"
        ) from error
    except BrokenProcessPool as error:
        raise TrainingError(
            "a process that made songs was killed, perhaps for want of memory; lower synthesis.jobs and go on"
        ) from error
