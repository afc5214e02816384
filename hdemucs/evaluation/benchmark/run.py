"""The benchmark: separates and scores the songs of a test set, and goes on where it was stopped."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hdemucs import __version__
from hdemucs.datasets import Song, align_lengths
from hdemucs.errors import EvaluationError, HDemucsError, OptionError
from hdemucs.evaluation.benchmark.methods import Method
from hdemucs.evaluation.metrics.bsseval import bss_eval
from hdemucs.evaluation.metrics.sdr import sdr
from hdemucs.files import write_whole

METRICS = ("SDR", "SIR", "ISR", "SAR")
WINDOW_SECONDS = 1.0
"""Window and hop of BSS Eval in SiSEC 2018, and so in all published scores."""


@dataclass(frozen=True)
class Outcome:
    """What became of one song: `scored`, `kept` from an earlier run, or `failed` with the error."""

    song: str
    status: str
    error: HDemucsError | None = None


def evaluate(
    method: Method,
    songs: Sequence[Song],
    out: Path,
    *,
    jobs: int = 1,
    progress: Callable[[int, str], None] | None = None,
) -> list[Outcome]:
    """Score a method on songs; each song's scores become `out/tracks/SONG.json`.

    The metrics of one song run while the next is being separated. Songs that have their file are not done
    again.

    Args:
        method: what is scored.
        songs: the test set.
        out: folder of the run; `out/run.json` keeps what was scored, so that runs cannot be mixed up.
        jobs: songs that may be in scoring at once, each in memory.
        progress: called with the number of songs done and the name of the next one.

    Raises:
        OptionError, EvaluationError: `out` holds another run, or something else.
        OutputError: it cannot be written.
    """
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    _claim(method, out)
    outcomes: dict[str, Outcome] = {}
    running: list[tuple[Song, Future[None]]] = []

    def collect(most: int) -> None:
        while len(running) > most:
            song, future = running.pop(0)
            outcomes[song.name] = _outcome(song, future.result)

    # One thread each: more of them would fight with the separation's for the same cores.
    with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for index, song in enumerate(songs):
            if progress is not None:
                progress(index, song.name)
            target = track_file(out, song.name)
            if target.exists():
                outcomes[song.name] = Outcome(song.name, "kept")
                continue
            collect(jobs - 1)
            started = time.perf_counter()
            try:
                estimates, rate = method.separate(song)
            except HDemucsError as error:
                outcomes[song.name] = Outcome(song.name, "failed", error)
                continue
            took = time.perf_counter() - started
            work = pool.submit(_score, song, method.sources(song), estimates, rate, took, target)
            running.append((song, work))
        collect(0)
    return [outcomes[song.name] for song in songs]


def track_file(out: Path, song: str) -> Path:
    """Where a song's scores are."""
    return out / "tracks" / f"{song}.json"


def _outcome(song: Song, result: Callable[[], None]) -> Outcome:
    try:
        result()
    except HDemucsError as error:
        return Outcome(song.name, "failed", error)
    return Outcome(song.name, "scored")


def _claim(method: Method, out: Path) -> None:
    """Write what is being scored to `run.json`, or see that it is the same as what stands there."""
    run = {"method": method.name, "settings": method.settings}
    file = out / "run.json"
    if file.exists():
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise EvaluationError(f"{file} is no description of a run; choose another folder") from error
        if {key: before.get(key) for key in run} != run:
            raise OptionError(
                f"{out} holds scores of {before.get('method')} {before.get('settings')}, not of "
                f"{method.name} {method.settings}; choose another folder"
            )
        return
    write_whole(file, json.dumps({**run, "hdemucs": __version__}, indent=2))


def _score(
    song: Song, sources: Sequence[str], estimates: Tensor, rate: int, took: float, target: Path
) -> None:
    references = song.references(sources, rate, channels=estimates.shape[1])
    length = align_lengths(song.name, [references[0], estimates[0]], rate).shape[-1]
    references, estimates = references[..., :length], estimates[..., :length]
    started = time.perf_counter()
    window = round(WINDOW_SECONDS * rate)
    try:
        scores = bss_eval(references, estimates, window=window, hop=window)
        whole = sdr(references, estimates)
    except ValueError as error:
        raise EvaluationError(f"{song.name}: {error}") from error
    content = {
        "targets": list(_targets(sources, scores)),
        "museval_version": "0.4.1",
        "hdemucs": {
            "sdr": dict(zip(sources, whole.tolist(), strict=True)),
            "seconds": length / rate,
            "separation_seconds": took,
            "scoring_seconds": time.perf_counter() - started,
        },
    }
    write_whole(target, json.dumps(content, indent=1))


def _targets(sources: Sequence[str], scores: Any) -> Iterator[dict[str, Any]]:
    """Scores in the schema of museval, whose tools read it."""
    values = {metric: getattr(scores, metric.lower()).tolist() for metric in METRICS}
    for index, source in enumerate(sources):
        windows = len(values["SDR"][index])
        frames = [
            {
                "time": number * WINDOW_SECONDS,
                "duration": WINDOW_SECONDS,
                "metrics": {metric: round(values[metric][index][number], 5) for metric in METRICS},
            }
            for number in range(windows)
        ]
        yield {"name": source, "frames": frames}
