"""Folders of synthesised songs, in the layout of MusDB-HQ."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import yaml

from hdemucs.errors import OptionError, OutputError
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.song import Song, make_song

FORMATS = ("wav", "flac")


@dataclass(frozen=True)
class Task:
    """One song to be made: where, and with what."""

    folder: Path
    seed: int
    seconds: float | None
    held_out: bool
    format: str


def write_songs(
    out: Path,
    *,
    songs: int,
    held_out: int = 0,
    seed: int = 0,
    seconds: float | None = 32.0,
    format: str = "wav",
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Make songs to train with in `out/train`, and held-out ones in `out/test`; 16 bit.

    Songs that are there already are kept: what was stopped goes on, and more songs add to fewer. The result
    does not depend on the number of jobs. Each song's folder appears when it is whole.

    Args:
        out: folder of the result.
        songs: how many to train with.
        held_out: how many of styles, instruments and voices that are in none of those.
        seed: of the first song; the others count on from it.
        seconds: length of a song; None for whole songs.
        format: one of `FORMATS`.
        jobs: processes; each takes one core and 0.7 GB, for whole songs up to 3 GB.
        progress: told of how many songs are done, and of how many.

    Returns:
        How many songs were made now.

    Raises:
        OptionError: a number is out of range, or the format is unknown.
        OutputError: the result cannot be written.
        TrainingError: the sounds or voices are not installed.
    """
    if songs < 0 or held_out < 0 or jobs < 1 or (seconds is not None and seconds <= 0):
        raise OptionError("songs, held-out songs, jobs and seconds must be positive")
    if format not in FORMATS:
        raise OptionError(f"{format!r} is no format that songs are written in; one of {', '.join(FORMATS)}")
    tasks = [
        Task(out / "train" / f"song {seed + n:06d}", seed + n, seconds, False, format) for n in range(songs)
    ]
    tasks += [
        Task(out / "test" / f"held out {seed + n:06d}", seed + n, seconds, True, format)
        for n in range(held_out)
    ]
    missing = [task for task in tasks if not task.folder.exists()]
    for done, _ in enumerate(_each(missing, jobs), len(tasks) - len(missing) + 1):
        if progress is not None:
            progress(done, len(tasks))
    return len(missing)


def write_song(song: Song, folder: Path, format: str = "wav") -> None:
    """Write a song's stems and mixture, and `song.yaml`, which says what it is made of; all of it or nothing.

    Stems are rounded to 16 bit before they are added up: the mixture is their exact sum in the files too.

    Raises:
        OutputError: the folder or the disk refuses.
    """
    steps = {name: np.rint(stem * 32767).astype(np.int32) for name, stem in song.stems.items()}
    signals = {**steps, "mixture": np.sum(list(steps.values()), axis=0)}
    with _whole(folder) as part:
        for name, signal in signals.items():
            soundfile.write(part / f"{name}.{format}", signal.T.astype(np.int16), RATE, "PCM_16")
        (part / "song.yaml").write_text(yaml.safe_dump(song.description, sort_keys=False, allow_unicode=True))


def make(task: Task) -> None:
    """Make one song and write it; errors as for `write_songs`."""
    write_song(make_song(task.seed, task.seconds, held_out=task.held_out), task.folder, task.format)


def _each(tasks: list[Task], jobs: int) -> Iterator[None]:
    """Make every song; with one job in this process."""
    if jobs == 1:
        for task in tasks:
            make(task)
            yield
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(make, task) for task in tasks]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which takes its name when all went well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            part = Path(temporary) / "part"
            part.mkdir()
            yield part
            part.rename(folder)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"{folder}: cannot be written ({reason}); choose another folder, or free space"
        ) from error
