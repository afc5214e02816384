"""A benchmark run: the songs of a test set are separated and scored, and a stopped run can be resumed."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hdemucs.datasets import Song
from hdemucs.errors import HDemucsError, OptionError
from hdemucs.evaluation.benchmark.engines import Engine, OwnEngine
from hdemucs.evaluation.benchmark.identity import claim_folder
from hdemucs.evaluation.benchmark.methods import Method
from hdemucs.evaluation.benchmark.scores import score_song, scores_file


@dataclass(frozen=True)
class SongOutcome:
    """What happened to one song.

    Attributes:
        song: Name of the song.
        status: `scored` in this run, `kept` from an earlier one, or `failed`.
        error: Why the song failed; None unless it did.
    """

    song: str
    status: Literal["scored", "kept", "failed"]
    error: HDemucsError | None = None


def evaluate(
    method: Method,
    songs: Sequence[Song],
    out: Path,
    *,
    engine: Engine | None = None,
    jobs: int = 1,
    progress: Callable[[int, str], None] | None = None,
) -> list[SongOutcome]:
    """Score a method on songs and write the scores of each to `out/tracks/SONG.json`.

    Songs that already have their file are not scored again. A song that fails does not stop the others.

    Args:
        method: Method to score.
        songs: Songs of the test set.
        out: Folder of the run. `out/run.json` records the method, its weights, the engine and the songs, so
            that runs cannot be mixed up.
        engine: What computes BSS Eval; None for this library's own.
        jobs: Songs scored at once, while the next one is separated. With 1, two songs are in memory: one
            of four minutes with four stereo stems takes 1.5 GB while it is scored (8 GB by museval), and
            0.4 GB besides the model's own while it is separated.
        progress: Called before each song with the number of songs before it and its name.

    Returns:
        One outcome for each song, in order.

    Raises:
        OptionError: `jobs` is below 1, or `out` holds scores of another method, model, engine or test set.
        EvaluationError: `out/run.json` is damaged.
        OutputError: `out` cannot be written.
        WorkerError: A process that scores was killed, most likely because memory ran out.
    """
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    engine = engine or OwnEngine()
    claim_folder(out, method, engine.name, songs)
    outcomes: dict[str, SongOutcome] = {}
    scoring: list[tuple[Song, Future[None]]] = []

    def collect(most: int) -> None:
        while len(scoring) > most:
            song, future = scoring.pop(0)
            outcomes[song.name] = _outcome(song, future)

    with engine.workers(jobs) as pool:
        for index, song in enumerate(songs):
            if progress is not None:
                progress(index, song.name)
            file = scores_file(out, song.name)
            if file.exists():
                outcomes[song.name] = SongOutcome(song.name, "kept")
                continue
            collect(jobs)
            started = time.perf_counter()
            try:
                estimates, rate = method.separate(song)
            except HDemucsError as error:
                outcomes[song.name] = SongOutcome(song.name, "failed", error)
                continue
            seconds = time.perf_counter() - started
            sources, array = method.sources(song), estimates.numpy()
            future = pool.submit(score_song, engine, song, sources, array, rate, seconds, file)
            scoring.append((song, future))
        collect(0)
    return [outcomes[song.name] for song in songs]


def _outcome(song: Song, future: Future[None]) -> SongOutcome:
    try:
        future.result()
    except HDemucsError as error:
        return SongOutcome(song.name, "failed", error)
    return SongOutcome(song.name, "scored")
