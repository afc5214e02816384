"""`hdemucs make-songs`."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Run, assert_fails


def test_flags_reach_the_library(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, dict[str, Any]]] = []

    def write_songs(out: Path, **options: Any) -> int:
        options.pop("progress")(3, 5)
        calls.append((out, options))
        return 5

    monkeypatch.setattr("hdemucs.synthesis.dataset.write_songs", write_songs)
    flags = ["--songs", 3, "--held-out", 2, "--sparse", "--seed", 7, "--seconds", 0, "--format", "flac"]
    result = run("make-songs", tmp_path, *flags, "--jobs", 4)
    assert (result.status, result.out) == (0, "")
    assert "new songs: 5" in result.err
    numbers = {"songs": 3, "held_out": 2, "sparse": True, "seed": 7, "seconds": None}
    assert calls == [(tmp_path, {**numbers, "format": "flac", "jobs": 4})]


def test_no_songs_at_all(run: Run, tmp_path: Path) -> None:
    result = run("make-songs", tmp_path, "--songs", "0")
    assert result.status == 0
    assert "new songs: 0" in result.err


def test_unknown_format(run: Run, tmp_path: Path) -> None:
    assert_fails(run("make-songs", tmp_path, "--format", "mp3"), 2, "mp3", "wav", "flac")
