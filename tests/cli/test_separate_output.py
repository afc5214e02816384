"""`hdemucs separate`: what it prints."""

import re
import sys
from pathlib import Path

import pytest
import soundfile

from hdemucs.pretrained import DEFAULT_MODEL
from tests.audio.signals import noise
from tests.cli.command import Run, write
from tests.conftest import TINY_RATE
from tests.reference import SOURCES


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


def test_output_is_a_line_for_each_track_and_file(separate: Run, song: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    result = separate(song, missing)
    stems = [f"  {tmp_path}/out/tiny/song/{name}.wav" for name in SOURCES]
    assert result.out.splitlines() == [f"{song}: written 2.6 s, computed in float32", *stems]
    complaint, count = result.err.splitlines()
    assert str(missing) in complaint
    assert count == "1 of 2 tracks failed"
    assert separate(song, "--overwrite", "--quiet").out == ""


def test_a_gain_that_rounds_to_nothing_is_not_shown(separate: Run, song: Path, tmp_path: Path) -> None:
    separate(song, "--bits=32f")
    stems = [soundfile.read(path)[0] for path in (tmp_path / "out").rglob("*.wav")]
    peak = max(abs(stem).max() for stem in stems)
    samples, rate = soundfile.read(song)
    barely = write(tmp_path / "barely.wav", (samples * 1.001 / peak).T, rate)
    result = separate(barely, "--json")
    assert 0.99 < result.json["tracks"][0]["gain"] < 1
    assert "turned down" not in separate(barely, "--overwrite").out


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_are_broken_between_words_only(
    separate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    name = "Johann Sebastian Bach - 05 - Brandenburg Concerto No. 3 in G major, BWV 1048 (live)"
    song = write(tmp_path / f"{name}.wav")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.chdir(tmp_path)
    result = separate(song.name, "-o", "stems")
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(line.strip() for line in lines)
    folder, files = f"stems/tiny/{name}/", [f"{stem}.wav" for stem in SOURCES]
    # Where a path is longer than a line, the folder is printed once.
    paths = [folder + file for file in files] if width == 120 else [folder, *files]
    wanted = " ".join([f"{name}.wav: written 0.5 s, computed in float32", *paths])
    assert text.replace("/ ", "/") == wanted.replace("/ ", "/")


def test_names_cannot_rewrite_the_terminal(separate: Run, tmp_path: Path) -> None:
    name = "\x1b]0;title\x07\x1b[31m\u202ered"
    result = separate(write(tmp_path / f"{name}.wav"), tmp_path / f"no {name}.wav")
    for printed in (result.out, result.err):
        assert r"\x1b]0;title\x07\x1b[31m\u202ered" in printed
        assert not set("\x1b\x07\u202e") & set(printed)


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


def test_help_names_the_default_model(run: Run) -> None:
    assert f"(default: {DEFAULT_MODEL})" in " ".join(run("separate", "--help").out.split())
