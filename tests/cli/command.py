"""Running the command in tests, and looking at what it wrote and printed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.tracks import MARK
from tests.audio.signals import gather, noise
from tests.conftest import TINY_RATE
from tests.reference import SOURCES


@dataclass
class Result:
    """Exit status of a command, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def statuses(self) -> dict[str, str]:
        """Status of each track by file name, from the output of `hdemucs separate --json`."""
        return {Path(track["track"]).name: track["status"] for track in self.json["tracks"]}


Run = Callable[..., Result]


def write(path: Path, samples: Tensor | np.ndarray | None = None, rate: int = TINY_RATE) -> Path:
    """Write an audio file in the format of its suffix; WAV in floating point."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise(4000) if samples is None else samples
    subtype = "FLOAT" if path.suffix == ".wav" else None
    # Python opens the file, because libsndfile treats some names specially.
    with path.open("wb") as file:
        format = path.name.rpartition(".")[2].upper()
        soundfile.write(file, np.asarray(samples).T, rate, format=format, subtype=subtype)
    return path


def files_below(folder: Path) -> list[str]:
    """Files in a folder, without the marks that say which folders hold stems."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MARK]
    return sorted(str(path.relative_to(folder)) for path in files)


def stem_files(track: str, ext: str = "wav", model: str = "tiny") -> list[str]:
    return sorted(f"{model}/{track}/{name}.{ext}" for name in SOURCES)


def read(folder: Path, ext: str = "wav") -> Tensor:
    """Stems of a track, `[sources, channels, samples]`."""
    return torch.stack([gather(audio.open(folder / f"{name}.{ext}")) for name in SOURCES])


def assert_fails(result: Result, status: int, *words: str | Path) -> None:
    """Check that the command printed one line, on stderr, with these words."""
    assert result.status == status
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert result.err.startswith("hdemucs")
    for word in words:
        assert str(word) in result.err
