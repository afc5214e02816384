"""`hdemucs separate`: what it prints."""

import re
import sys
from pathlib import Path

import pytest

from hdemucs.pretrained import DEFAULT_MODEL
from tests.audio.signals import noise
from tests.cli.command import Run, write
from tests.conftest import TINY_RATE


def test_json_is_all_that_stdout_has(separate: Run, song: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    result = separate(song, missing, "--two-stems=bass", "--json")
    assert result.status == 1
    base = tmp_path / "out/tiny/song"
    written, failed = result.json["tracks"]
    assert result.json["model"] == "tiny"
    assert written == {
        "track": str(song),
        "status": "written",
        "stems": {"bass": f"{base}/bass.wav", "no_bass": f"{base}/no_bass.wav"},
        "seconds": 2.6,
        "gain": 1.0,
    }
    assert (failed["track"], failed["status"]) == (str(missing), "failed")
    assert str(missing) in failed["error"]


def test_output_is_plain_without_a_terminal(separate: Run, song: Path) -> None:
    result = separate(song)
    assert "\x1b" not in result.out + result.err
    header, *rows = result.out.splitlines()
    assert header.split() == ["track", "result", "files"]
    assert len(rows) == 4
    assert "written 2.6 s" in rows[0]
    # One note on the model, no remains of a progress bar.
    assert result.err.count("\n") == 1
    assert "tiny" in result.err


def test_names_that_stdout_cannot_show(
    separate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
    result = separate(write(tmp_path / "ü.wav"))
    assert result.status == 0
    assert "\\xfc" in result.out


def test_one_progress_bar_with_time_left(
    separate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    songs = [write(tmp_path / f"{name}.wav", noise(3 * TINY_RATE)) for name in ("one", "[b]two", "x" * 100)]
    result = separate(*songs, "--json")
    assert result.status == 0
    assert len(result.json["tracks"]) == 3
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", result.err)
    assert "[b]two" in shown
    assert re.search(r"100% \d:\d\d:\d\d", shown)
    frames = re.split(r"[\r\n]+", shown)
    percents = [int(percent) for frame in frames for percent in re.findall(r"(\d+)%", frame)]
    assert percents == sorted(percents), "one bar for all tracks, never back to 0"
    assert max(frame.count("%") for frame in frames) == 1
    assert max(map(len, frames)) <= 80
    assert result.err.endswith("\x1b[2K"), "the bar is wiped away at the end"


def test_no_credit_without_stems(separate: Run, tmp_path: Path) -> None:
    result = separate(tmp_path / "missing.wav")
    assert result.status == 1
    assert "separated with" not in result.err
    assert "failed" in result.out


def test_help_names_the_default_model(run: Run) -> None:
    assert f"(default: {DEFAULT_MODEL})" in " ".join(run("separate", "--help").out.split())
