"""Identity of a run: whose scores on which songs a folder holds, kept in its run.json.

The name of a method is not enough, since every trained model can be called `best`: a run is identified by the
settings, the fingerprint of the weights, and the length and size of every song that was scored.

A run.json without fingerprints, as version 0.1.0 wrote it, keeps working: it is compared by name and settings
alone, and stays as it is, since nobody knows which weights its scores came from. As trained models were all
named `best` then, a folder of scores of `best` takes the name that a model has now.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdemucs import __version__
from hdemucs.datasets import Song
from hdemucs.errors import AudioError, EvaluationError, OptionError
from hdemucs.evaluation.benchmark.methods import Method
from hdemucs.evaluation.benchmark.scores import scores_file
from hdemucs.files import write_whole


def claim_folder(out: Path, method: Method, songs: Sequence[Song]) -> None:
    """Record in `out` what is scored into it, or check that it fits what was scored into it before.

    Args:
        out: Folder of the run.
        method: Method whose scores will be written there.
        songs: Songs of the test set.

    Songs may be added to a test set, and songs that failed may be mended; a song with scores must not change.

    Raises:
        OptionError: `out` holds scores of another method, of other settings, weights or songs.
        EvaluationError: `out/run.json` is damaged.
        OutputError: `out` cannot be written.
    """
    run = {"method": method.name, "settings": method.settings, "weights": method.fingerprint}
    test_set = {song.name: _facts(song) for song in songs}
    before = _read(out)
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
    if before["method"] not in known_as or before.get("settings") != method.settings:
        raise OptionError(
            f"{out} holds scores of {before['method']} {before.get('settings')}, not of "
            f"{method.name} {method.settings}; choose another folder"
        )


def _check_songs(out: Path, known: dict[str, Any], test_set: dict[str, Any]) -> None:
    for name, facts in known.items():
        if scores_file(out, name).exists() and test_set.get(name) != facts:
            what = "has changed since it was scored" if name in test_set else "is not in this test set"
            raise OptionError(f"{out} holds scores of another test set: {name} {what}; choose another folder")


def _facts(song: Song) -> dict[str, Any]:
    """Samples in a song's first stem and bytes in all its files; None for what cannot be read."""
    try:
        files = sorted({path for path, _ in song.files.values()})
        return {
            "length": song.open(song.sources[0]).length,
            "size": sum(path.stat().st_size for path in files),
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
        return {**run, "method": run["method"], "songs": songs}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{file} does not describe a run; choose another folder") from error
