"""Identity of a run: which method and settings the scores in a folder belong to, kept in its run.json."""

import json
from pathlib import Path
from typing import Any

from hdemucs import __version__
from hdemucs.errors import EvaluationError, OptionError
from hdemucs.evaluation.benchmark.methods import Method
from hdemucs.files import write_whole


def claim_folder(out: Path, method: Method) -> None:
    """Record in `out` which method is scored into it, or check that it is the one that was recorded before.

    Args:
        out: Folder of the run.
        method: Method whose scores will be written there.

    Raises:
        OptionError: `out` holds scores of another method or of other settings.
        EvaluationError: `out/run.json` is damaged.
        OutputError: `out` cannot be written.
    """
    run = {"method": method.name, "settings": method.settings}
    before = _read(out)
    if before is None:
        write_whole(out / "run.json", json.dumps({**run, "hdemucs": __version__}, indent=2))
    elif {key: before.get(key) for key in run} != run:
        raise OptionError(
            f"{out} holds scores of {before['method']} {before.get('settings')}, not of "
            f"{method.name} {method.settings}; choose another folder"
        )


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
        return {**run, "method": run["method"]}
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{file} does not describe a run; choose another folder") from error
