"""What all commands share: one-line complaints, notes, tables and the progress bar."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from hdemucs.errors import OptionError, install_extra
from hdemucs.files import cache_folder
from hdemucs.pretrained import BEST_MODEL, DEFAULT_MODEL

# Control characters, and those that change the direction of the text after them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Parser(argparse.ArgumentParser):
    """Argument parser whose complaints are one line, and which accepts no abbreviated options."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        see = " See" if message.endswith("?") else "; see"
        note(f"{self.prog}: {' '.join(message.splitlines())}{see} `{self.prog} --help`")
        self.exit(2)


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the failed import of a package from an extra into one line that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise OptionError(f"the package {error.name} is not installed; run {install_extra(extra)}") from error


def make_table(*columns: str) -> Any:
    """Table without lines between its cells; the first column holds names, which are not broken."""
    from rich.table import Table

    rows = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        rows.add_column(column, overflow="fold", no_wrap=index == 0)
    return rows


def print_table(rows: Any) -> None:
    """Print a table, as wide as the terminal; elsewhere as wide as it needs to be, so that no line is cut.

    Where the terminal is too narrow for a table without broken words, each row is printed as a list.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = max(1, console.measure(rows, options=console.options.update(max_width=2**16)).maximum)
    drawn = {segment.text for line in console.render_lines(rows) for segment in line}
    names = [str(column.header) for column in rows.columns]
    table = [list(map(str, row)) for row in zip(*(column.cells for column in rows.columns), strict=True)]
    words = " ".join(" ".join(row) for row in (names, *table)).split()
    if set(words) <= set(" ".join(drawn).split()):
        console.print(rows)
        return
    for name, *cells in table:
        print(wrapped(name, console.width))
        for header, cell in zip(names[1:], cells, strict=True):
            if cell:
                print(wrapped(f"  {header}: {cell}", console.width, indent=4))


def plain(text: str) -> Any:
    """Text that rich prints as it is, square brackets included."""
    from rich.text import Text

    return Text(text)


def complain(message: str) -> None:
    """Say on stderr what went wrong, in one line."""
    note(f"hdemucs: {' '.join(message.splitlines())}")


def note(message: str) -> None:
    """Print a message on stderr, if there is one: `print` would fall back to stdout."""
    if sys.stderr is not None:
        width = terminal_width(sys.stderr)
        lines = [wrapped(printable(line), width) for line in message.split("\n")]
        print("\n".join(lines), file=sys.stderr)


def printable(text: str) -> str:
    """Text with control characters escaped, by which the name of a file could rewrite the terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def terminal_width(stream: TextIO | None) -> int | None:
    """Number of columns of the terminal that a stream writes to; None if it is not a terminal."""
    if stream is None or not stream.isatty():
        return None
    return shutil.get_terminal_size().columns


def wrapped(text: str, width: int | None, indent: int = 0) -> str:
    """Break a line after spaces and slashes, never within words; None leaves it whole.

    Args:
        text: Line to break.
        width: Number of columns.
        indent: Number of spaces before the second line and those that follow.
    """
    if width is None or columns(text) <= width:
        return text
    lines = [""]
    for word in re.findall(r"[^ /]+[ /]*|[ /]+", text):
        if lines[-1].strip() and columns(lines[-1]) + columns(word.rstrip(" ")) > width:
            lines.append(" " * indent)
        lines[-1] += word
    return "\n".join(line.rstrip(" ") for line in lines)


def columns(text: str) -> int:
    """Columns that a text takes on a terminal: Chinese and Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def first_time(notice: str) -> bool:
    """Whether this user has not been shown a notice before; from now on, they have."""
    path = cache_folder("notices") / notice
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)
    except OSError:
        return False
    return True


def advice(model: str) -> str:
    """Note on the model that was used, and how to get better stems."""
    if model == DEFAULT_MODEL:
        return (
            f"separated with {model}, the small model that ships with hdemucs; "
            f"for far better stems (downloaded once): --model {BEST_MODEL}"
        )
    return f"separated with the model {model}; `hdemucs models` lists others"


def progress_bar(quiet: bool = False) -> Any:
    """rich's progress bar with time left, on stderr; silent if `quiet`, or if stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    console = Console(stderr=True)
    # A long title leaves room for the bar and the time.
    longest = min(30, console.width // 3)
    return Progress(
        # The first segment may take a minute, in which nothing else moves.
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=longest)),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
