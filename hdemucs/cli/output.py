"""What all commands share: one-line complaints, notes, tables and the progress bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from hdemucs.errors import OptionError, install_extra
from hdemucs.pretrained import BEST_MODEL, DEFAULT_MODEL


class Parser(argparse.ArgumentParser):
    """Argument parser whose complaints are one line, and which accepts no abbreviated options."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the failed import of a package from an extra into one line that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise OptionError(f"the package {error.name} is not installed; run {install_extra(extra)}") from error


def make_table(*columns: str) -> Any:
    """Table without lines between its cells."""
    from rich.table import Table

    rows = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        rows.add_column(column, overflow="fold")
    return rows


def print_table(rows: Any) -> None:
    """Print a table, as wide as the terminal; elsewhere as wide as it needs to be, so that no line is cut."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = max(1, console.measure(rows, options=console.options.update(max_width=2**16)).maximum)
    console.print(rows)


def plain(text: str) -> Any:
    """Text that rich prints as it is, square brackets included."""
    from rich.text import Text

    return Text(text)


def complain(message: str) -> None:
    """Say on stderr what went wrong, in one line."""
    note(f"hdemucs: {' '.join(message.splitlines())}")


def note(message: str) -> None:
    """Print a line on stderr, if there is one: `print` would fall back to stdout."""
    if sys.stderr is not None:
        print(message, file=sys.stderr)


def credit(model: str) -> str:
    """Note on which model was used, and how to get better stems."""
    if model == DEFAULT_MODEL:
        return (
            f"separated with {model}, the small model that ships with hdemucs; "
            f"for far better stems (downloaded once): --model {BEST_MODEL}"
        )
    return f"separated with the model {model}; `hdemucs models` lists others"


def progress_bar() -> Any:
    """rich's progress bar with time left, on stderr; silent unless stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=30)),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
