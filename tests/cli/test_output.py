"""What the commands print to a terminal, at any width."""

import re
import sys
from collections.abc import Callable

import pytest

from hdemucs.cli import build_parser
from hdemucs.cli.output import progress_bar
from tests.cli.command import Run

Terminal = Callable[[int], None]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes stdout and stderr a terminal with a number of columns."""

    def start(width: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return start


@pytest.mark.parametrize("argv", [["models"], ["train", "--keys"]])
def test_tables_break_no_words(run: Run, terminal: Terminal, argv: list[str]) -> None:
    words = set(run(*argv).out.split())
    for width in (40, 71, 80, 120):
        terminal(width)
        out = re.sub(r"\x1b\[[0-9;]*m", "", run(*argv).out)
        assert max(map(len, out.splitlines())) <= width
        # Where a table does not fit, the name of a column precedes each cell.
        assert {word for word in out.split() if not word.endswith(":")} <= words, f"{width} columns"


def test_complaints_about_options_break_no_words(run: Run, terminal: Terminal) -> None:
    whole = run("separate", "--repo", "models", "song.mp3").err
    terminal(40)
    lines = run("separate", "--repo", "models", "song.mp3").err.splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).replace("/ ", "/") == whole.strip()


def test_a_long_title_leaves_room_for_the_bar(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal(40)
    bar = progress_bar()
    bar.add_task("x" * 120, total=10, completed=5)
    lines = bar.console.render_lines(bar.get_renderable())
    (shown,) = ("".join(segment.text for segment in line) for line in lines)
    assert re.search(r"x….+━{5,}.+50% -:--:--", shown), shown


def test_help_fits_eighty_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in build_parser()[1]:
        for line in run(command, "--help").out.splitlines():
            assert len(line) <= 80, f"{command}: {line}"
