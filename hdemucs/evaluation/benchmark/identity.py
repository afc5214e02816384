"""Identity of a run: whose scores on which songs a folder holds, kept in its run.json.

The name of a method is not enough, since every trained model can be called `best`: a run is identified by the
settings, the fingerprint of the weights, the engine that scores, and the length and size of every song.

A run.json without fingerprints, as version 0.1.0 wrote it, keeps working: it is compared by name and settings
alone, and stays as it is, since nobody knows which weights its scores came from. As trained models were all
named `best` then, a folder of scores of `best` takes the name that a model has now. It has no engine either,
since there was only this library's own.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdemucs import __version__
from hdemucs.datasets import Song
from hdemucs.errors import AudioError, EvaluationError, OptionError
from hdemucs.evaluation.benchmark.engines import OwnEngine
from hdemucs.evaluation.benchmark.methods import Method
from hdemucs.evaluation.benchmark.scores import scores_file
from hdemucs.files import write_whole


def claim_folder(out: Path, method: Method, engine: str, songs: Sequence[Song]) -> None:
    """Record in `out` what is scored into it, or check that it fits what was scored into it before.

    Args:
        out: Folder of the run.
        method: Method whose scores will be written there.
        engine: Name of the engine that computes them.
        songs: Songs of the test set.

    Songs may be added to a test set, and songs that failed may be mended; a song with scores must not change.

    Raises:
        OptionError: `out` holds scores of another method, of other settings, weights or songs, or by another
            engine.
        EvaluationError: `out/run.json` is damaged.
        OutputError: `out` cannot be written.
    """
    run = {
        "method": method.name,
        "settings": method.settings,
        "weights": method.fingerprint,
        "engine": engine,
    }
    test_set = {song.name: _facts(song, method) for song in songs}
    before = _read(out)
    if before is not None and "weights" in before and not any(scores_file(out, "").parent.glob("*.json")):
        # Nothing was scored: the first song failed, or was interrupted.
        before = None
    if before is not None and before["engine"] != engine:
        raise OptionError(f"{out} holds scores by {before['engine']}, not by {engine}; choose another folder")
    if before is None:
        known = {}
    elif "weights" not in before:
        _check_method(out, before, method, known_as=(method.name, "best" if method.fingerprint else ""))
        return
    else:
        _check_method(out, before, method, known_as=(method.name,))
        if before["weights"] != method.fingerprint:
            raise OptionError(
                f"{out} holds scores of other weights, also named {method.name}; choose another folder"
            )
        known = before["songs"]
        _check_songs(out, known, test_set)
    record = {**run, "songs": {**known, **test_set}, "hdemucs": __version__}
    write_whole(out / "run.json", json.dumps(record, indent=2))


def _check_method(out: Path, before: dict[str, Any], method: Method, *, known_as: tuple[str, ...]) -> None:
    if before["method"] not in known_as:
        raise OptionError(
            f"{out} holds scores of {before['method']}, not of {method.name}; choose another folder"
        )
    settings = before.get("settings") or {}
    different = [
        name
        for name in sorted({*settings, *method.settings})
        if settings.get(name) != method.settings.get(name)
    ]
    if different:
        was, now = (
            ", ".join(f"{name}={values.get(name)}" for name in different)
            for values in (settings, method.settings)
        )
        raise OptionError(
            f"{out} holds scores of {method.name} with {was}, not with {now}; choose another folder"
        )


def _check_songs(out: Path, known: dict[str, Any], test_set: dict[str, Any]) -> None:
    for name, facts in known.items():
        # An older version knew fewer facts.
        same = name in test_set and facts.items() <= test_set[name].items()
        if scores_file(out, name).exists() and not same:
            what = "has changed since it was scored" if name in test_set else "is not in this test set"
            raise OptionError(f"{out} holds scores of another test set: {name} {what}; choose another folder")


def _facts(song: Song, method: Method) -> dict[str, Any]:
    """Samples in a song's first stem, bytes in all its files, and what else its estimates depend on.

    Values are None for what cannot be read.
    """
    try:
        files = sorted({path for path, _ in song.files.values()})
        return {
            "length": song.open(song.sources[0]).length,
            "size": sum(path.stat().st_size for path in files),
            **method.facts(song),
        }
    except (AudioError, OSError):
        return {"length": None, "size": None}


def method_name(out: Path) -> str:
    """Name of the method that was scored into `out`; the folder's name if it has no run.json.

    Raises:
        EvaluationError: `out/run.json` is damaged.
    """
    run = _read(out)
    return out.name if run is None else str(run["method"])


def _read(out: Path) -> dict[str, Any] | None:
    file = out / "run.json"
    if not file.exists():
        return None
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        songs = {name: dict(facts) for name, facts in run.get("songs", {}).items()}
        engine = run.get("engine", OwnEngine.name)
        return {**run, "method": run["method"], "engine": engine, "songs": songs}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{file} does not describe a run; choose another folder") from error
