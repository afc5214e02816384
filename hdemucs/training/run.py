"""The folder of a training run: what it is configured to do, what it did, and where it goes on."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from hdemucs.errors import OutputError, RunExistsError, TrainingError
from hdemucs.files import whole_file, write_error, write_whole


class Run:
    """Files of one training run.

    - `config.yaml`: the resolved configuration, all keys.
    - `initial.safetensors`: the network as it began.
    - `train.log`: what was said while it ran.
    - `metrics.jsonl`: one JSON object for each step (`"kind": "step"`) and each epoch (`"kind": "epoch"`).
    - `checkpoint.pt`: all that it takes to go on.
    - `best.safetensors`: the best model so far, for `hdemucs separate --model`.
    - `curves.png`, `tensorboard/`: losses and SDR over time.
    - `songs/`: those made for this epoch and the next, while it trains.

    Args:
        folder: of the run.
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
        self.made = folder / "songs"

    @classmethod
    def existing(cls, folder: Path) -> "Run":
        """A run that was begun; TrainingError if the folder holds none."""
        run = cls(folder)
        for file in (run.config, run.initial):
            if not file.is_file():
                raise TrainingError(f"{folder} holds no run: it has no {file.name}; begin one by --config")
        return run

    def refuse_existing(self) -> None:
        """Raise TrainingError if there is a run in the folder."""
        if self.initial.exists():
            raise RunExistsError(self.folder)

    def record(self, line: Mapping[str, Any]) -> None:
        """Append to the metrics; numbers that are not finite become null, which JSON can hold."""
        clean = {key: _jsonable(value) for key, value in line.items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(clean) + "\n")
        except OSError as error:
            raise write_error(self.metrics, error) from error

    def history(self, kind: str) -> list[dict[str, Any]]:
        """Recorded lines of a kind, `step` or `epoch`; half a line that a killed process left is not one."""
        return [line for line in self._lines() if line.get("kind") == kind]

    def rewind(self, steps: int) -> None:
        """Forget what was recorded after so many steps since the beginning: it will be done again."""
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
        """Replace the checkpoint; the old one stays until the new one is whole and on the disk.

        Raises:
            OutputError: it cannot be written.
        """
        with whole_file(self.checkpoint) as file:
            try:
                torch.save(dict(state), file)
            except RuntimeError as error:
                # torch's own writer says of a full disk no more than that it failed.
                raise OutputError(
                    f"{self.checkpoint}: cannot be written; free space and go on with --resume {self.folder}"
                ) from error

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The state to go on from, None before the first checkpoint.

        Raises:
            TrainingError: the file is damaged.
        """
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises of any kind for a damaged file
            raise TrainingError(f"{self.checkpoint} is damaged; begin anew in another folder") from error
        return state


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    return value
