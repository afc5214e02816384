"""The folder of a training run: its configuration, its metrics, its checkpoint and its best model."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import safe_open

from hdemucs.checkpoint.files import KEY
from hdemucs.errors import OutputError, RunExistsError, TrainingError
from hdemucs.files import whole_file, write_error, write_whole


class Run:
    """Files of a training run.

    - `config.yaml`: The resolved configuration, with all keys.
    - `initial.safetensors`: The network before training.
    - `train.log`: Log messages.
    - `metrics.jsonl`: One JSON object per step (`"kind": "step"`) and per epoch (`"kind": "epoch"`).
    - `checkpoint.pt`: Everything needed to resume.
    - `best.safetensors`: The best model so far, for `hdemucs separate --model`.
    - `curves.png`, `tensorboard/`: Curves of the losses and the SDR.
    - `run.lock`: Held by the process that trains it; left behind, it means nothing.
    - `songs/`: Songs synthesised for the current epoch and the next, only while training.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.initial = folder / "initial.safetensors"
        self.log = folder / "train.log"
        self.metrics = folder / "metrics.jsonl"
        self.checkpoint = folder / "checkpoint.pt"
        self.best = folder / "best.safetensors"
        self.curves = folder / "curves.png"
        self.tensorboard = folder / "tensorboard"
        self.songs = folder / "songs"
        self._lock = folder / "run.lock"

    @classmethod
    def existing(cls, folder: Path) -> "Run":
        """Open a run that was started before.

        Raises:
            TrainingError: The folder does not hold a run.
        """
        run = cls(folder)
        for file in (run.config, run.initial):
            if not file.is_file():
                raise TrainingError(f"{folder} is not a training run: it has no {file.name}; start a new run")
        return run

    def refuse_existing(self) -> None:
        """Make sure that the folder does not already hold a run.

        Raises:
            RunExistsError: It does.
        """
        if self.initial.exists():
            raise RunExistsError(self.folder)

    def refuse_changes(self, settings: Mapping[str, Any]) -> None:
        """Make sure that settings that cannot change are those the run began with.

        Args:
            settings: Values of these settings now; the initial model has those of the beginning, or only some
                of them in a run of an earlier version.

        Raises:
            TrainingError: One has changed.
        """
        with safe_open(self.initial, framework="pt") as file:
            recorded = json.loads(file.metadata()[KEY])["provenance"]
        common = settings.keys() & recorded.keys()
        before, now = (_flat({name: source[name] for name in common}) for source in (recorded, settings))
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                raise TrainingError(
                    f"{self.config}: {name} was {json.dumps(before.get(name))} when the run began and is "
                    f"{json.dumps(now.get(name))} now; set it back, or start a new run, which can begin with "
                    f"the weights of this one: init={self.folder}"
                )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into the folder meanwhile.

        The operating system holds the lock: it ends with the process, however that ends. If the folder holds
        no run at the end, nothing is left of it.

        Raises:
            TrainingError: Another process is training into it.
            OutputError: The folder cannot be written.
        """
        lock = FileLock(self._lock, timeout=0)
        created = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise TrainingError(
                f"{self.folder} is being trained into by another process; wait for it, or stop it first"
            ) from None
        except OSError as error:
            raise write_error(self._lock, error) from error
        except NotImplementedError:  # some network file systems have no locks
            pass
        try:
            yield
        finally:
            # While the lock is still held, nobody else can be holding the same file.
            if not self.initial.exists():
                with suppress(OSError):
                    self._lock.unlink()
            lock.release()
            for path in () if self.initial.exists() else created:
                with suppress(OSError):
                    path.rmdir()

    @contextmanager
    def discarded_unless_begun(self) -> Iterator[None]:
        """Remove what was written if an exception ends the run while there is nothing yet to resume.

        That is the case until the first step, or the first song synthesised for it, is done. Files that were
        in the folder before, and a batch saved for inspection, stay.
        """
        before = set(self.folder.iterdir())
        try:
            yield
        except BaseException:
            if not (self.checkpoint.exists() or self.songs.exists() or self.history("step")):
                for path in {self.config, self.initial, self.log, self.metrics} - before:
                    with suppress(OSError):
                        path.unlink()
            raise

    def record(self, line: Mapping[str, Any]) -> None:
        """Append a line to the metrics; numbers that are not finite become null, as JSON has no NaN.

        Raises:
            OutputError: The file cannot be written.
        """
        clean = {key: _jsonable(value) for key, value in line.items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(clean) + "\n")
        except OSError as error:
            raise write_error(self.metrics, error) from error

    def history(self, kind: str) -> list[dict[str, Any]]:
        """Read the recorded lines of a kind, `step` or `epoch`; a partial line left by a crash is skipped."""
        return [line for line in self._lines() if line.get("kind") == kind]

    def rewind(self, steps: int) -> None:
        """Discard the metrics recorded after the first `steps` steps of the run, which will be repeated."""
        kept = [json.dumps(line) + "\n" for line in self._lines() if line["total_steps"] <= steps]
        write_whole(self.metrics, "".join(kept))

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.metrics.exists():
            return
        for text in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("total_steps"), int):
                yield line

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint; the old one stays until the new one is complete and on disk.

        Raises:
            OutputError: The checkpoint cannot be written.
        """
        with whole_file(self.checkpoint) as file:
            try:
                torch.save(dict(state), file)
            except RuntimeError as error:
                # torch's own writer does not say that the disk is full, only that it failed.
                raise OutputError(
                    f"{self.checkpoint}: cannot be written; free some disk space, then resume the run"
                ) from error

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Load the state to resume from; None before the first checkpoint.

        Raises:
            TrainingError: The file is damaged, or may not be read.
        """
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except PermissionError as error:
            raise TrainingError(
                f"{self.checkpoint} may not be read; ask its owner for permission to resume the run"
            ) from error
        except Exception as error:  # torch raises exceptions of any kind for a damaged file
            raise TrainingError(f"{self.checkpoint} is damaged; start a new run in another folder") from error
        return state


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    return value


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name, in which a mapping becomes a setting for each of its keys."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        nested = value if isinstance(value, Mapping) else {}
        flat |= {f"{name}.{key}": item for key, item in nested.items()} or {name: value}
    return flat
