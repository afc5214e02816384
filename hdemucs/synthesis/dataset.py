"""Folders of synthesised songs, in the layout of MusDB-HQ."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from hdemucs import audio
from hdemucs.errors import OptionError
from hdemucs.files import whole_folder
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.song import STEMS, Multitrack, make_song, require_sounds
from hdemucs.workers import as_done, worker_pool

FORMATS = ("wav", "flac")


@dataclass(frozen=True)
class Task:
    """A song to make and write.

    Attributes:
        folder: Folder of the song.
        seed: Seed of the song.
        seconds: Duration in seconds; None for a full song.
        held_out: Whether it is a held-out song.
        format: One of `FORMATS`.
        sparse: Whether a held-out song has a sparse arrangement.
    """

    folder: Path
    seed: int
    seconds: float | None
    held_out: bool
    format: str
    sparse: bool = False


def write_songs(
    out: Path,
    *,
    songs: int,
    held_out: int = 0,
    sparse: bool = False,
    seed: int = 0,
    seconds: float | None = 32.0,
    format: str = "wav",
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write 16-bit songs for training to `out/train`, and held-out songs for evaluation to `out/test`.

    Existing songs are kept, so an interrupted call continues where it stopped, and songs can be added later.
    The folder of a song appears only when it is complete. The songs do not depend on `jobs`.

    Args:
        out: Output folder.
        songs: Number of songs for training.
        held_out: Number of held-out songs, with genres, instruments and voices that no training song has.
        sparse: Whether the held-out songs are thinned out to solos, a cappella, drum breaks and so on, with
            every stem at rest for half of each song. Nearly half of all training songs are thinned out too.
        seed: Seed of the first song; further songs count up from it.
        seconds: Duration of each song in seconds; None for full songs.
        format: One of `FORMATS`.
        jobs: Number of processes; each uses one core and 1 GB of memory, or up to 3 GB for full songs.
        progress: Called with the number of songs that exist so far, and their total.

    Returns:
        Number of songs made by this call.

    Raises:
        OptionError: A number is out of range, or the format is unknown.
        OutputError: A song cannot be written.
        SynthesisError: Sounds or voices are not installed.
        WorkerError: A worker process was killed.
    """
    if songs < 0 or held_out < 0 or jobs < 1 or (seconds is not None and seconds <= 0):
        raise OptionError("songs and held_out must not be negative, jobs and seconds must be positive")
    if sparse and not held_out:
        raise OptionError("sparse applies to held-out songs: set held_out to the number of these")
    if format not in FORMATS:
        raise OptionError(f"songs cannot be written as {format!r}; choose {' or '.join(FORMATS)}")
    tasks = [
        Task(out / "train" / f"song {seed + n:06d}", seed + n, seconds, False, format) for n in range(songs)
    ]
    name = "sparse" if sparse else "held out"
    tasks += [
        Task(out / "test" / f"{name} {seed + n:06d}", seed + n, seconds, True, format, sparse)
        for n in range(held_out)
    ]
    missing = [task for task in tasks if not task.folder.exists()]
    for unheard in sorted({task.held_out for task in missing}):
        require_sounds(held_out=unheard)
    with worker_pool(jobs, torch_threads=1) if jobs > 1 else nullcontext() as pool:
        for done, _ in enumerate(as_done(make, missing, pool), len(tasks) - len(missing) + 1):
            if progress is not None:
                progress(done, len(tasks))
    return len(missing)


def make(task: Task) -> None:
    """Make one song and write it, with the same errors as `write_songs`."""
    song = make_song(task.seed, task.seconds, held_out=task.held_out, sparse=task.sparse)
    write_song(song, task.folder, task.format)


def write_song(song: Multitrack, folder: Path, format: str = "wav") -> None:
    """Write stems, mixture and description (`song.yaml`) of a song: either all of them or none.

    Stems are rounded to 16 bits before they are added up, so the mixture is their exact sum in the files too.

    Args:
        song: Song to write.
        folder: Folder to create.
        format: One of `FORMATS`.

    Raises:
        OutputError: The folder exists or cannot be written, or the disk is full.
    """
    stems = np.stack([song.stems[name] for name in STEMS])
    with whole_folder(folder) as part:
        paths = {name: part / f"{name}.{format}" for name in (*STEMS, "mixture")}
        length = stems.shape[-1]
        with audio.StemWriter(paths, RATE, 2, format=format, clip="none", length=length) as writer:
            for start in range(0, length, RATE):
                # Exact in float32: whole numbers, divided by a power of two, the full scale of 16 bits.
                samples = np.rint(stems[..., start : start + RATE] * 32767)
                signals = np.concatenate([samples, samples.sum(axis=0, keepdims=True)]) / 32768
                writer.write(torch.from_numpy(signals))
        description = yaml.safe_dump(song.description, sort_keys=False, allow_unicode=True)
        (part / "song.yaml").write_text(description, encoding="utf-8")
