from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hdemucs.pretrained import Card, ModelFile

from .server import FileServer, serving

# Long enough to be cut in the middle, and different everywhere.
BODY = b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(10_000))
SHA256 = hashlib.sha256(BODY).hexdigest()

MakeCard = Callable[..., Card]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder for checkpoints, in a cache of this test's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts, and every KiB that arrives is kept (the hub keeps every 10 MiB)."""
    hurried = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.file_download.time", hurried)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)


@pytest.fixture
def make_card(server: FileServer) -> MakeCard:
    """A card of files that the server has, all of them with the content BODY."""

    def make(*names: str, **details: Any) -> Card:
        details = {"sha256": SHA256, "size": len(BODY), **details}
        files = tuple(ModelFile(server.add(f"/models/{n}", BODY), **details) for n in names or ("a.th",))
        return Card(
            name="tiny",
            summary="",
            sources=("drums", "vocals"),
            sample_rate=44100,
            files=files,
            training_data="",
            licence="",
            paper="",
            homepage="",
        )

    return make


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python on some code in another process, with variables added to the environment."""
    processes: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
