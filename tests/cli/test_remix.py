"""`hdemucs remix`."""

from pathlib import Path
from typing import Any

import pytest

from hdemucs.training.automix.render import RemixReport
from tests.cli.command import Run, assert_fails


def test_flags_reach_the_library(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def automix(folders: list[Path], out: Path, **options: Any) -> RemixReport:
        options.pop("progress")("mixing", 1, 2)
        calls.append((folders, out, options))
        return RemixReport(written=[out / "new"], problems={"song": "no beat"})

    monkeypatch.setattr("hdemucs.training.automix.render.automix", automix)
    result = run("remix", "a", "b", "-o", tmp_path, "--songs", 2, "--seed", 5, "--sources", "bass", "drums")
    assert (result.status, result.out) == (0, "")
    assert result.err.splitlines()[0] == "hdemucs: song was left out: no beat"
    assert result.err.splitlines()[1] == f"new songs in {tmp_path}: 1; kept: 0"
    wanted = {"songs": 2, "seconds": 60.0, "sources": ["bass", "drums"], "seed": 5, "jobs": 1}
    assert calls == [([Path("a"), Path("b")], tmp_path, wanted)]
    run("remix", "a", "-o", tmp_path, "--songs", "2", "--validation", "x", "y")
    assert calls[1][2]["validation"] == ["x", "y"]


def test_a_folder_without_songs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    result = run("remix", tmp_path / "songs", "-o", tmp_path / "out", "--songs", "1")
    assert_fails(result, 1, tmp_path / "songs")


def test_required_options(run: Run) -> None:
    assert_fails(run("remix", "songs"), 2, "--out", "--songs")


def test_invalid_number_of_songs(run: Run, tmp_path: Path) -> None:
    assert_fails(run("remix", tmp_path, "-o", tmp_path / "out", "--songs", "0"), 2, "songs")
