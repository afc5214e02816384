"""What all commands share: a parser that complains in one line, tables, notes, the progress bar."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Complains in one line, as everything here does."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def make_table(*columns: str) -> Any:
    """A table without lines between its cells."""
    from rich.table import Table

    rows = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        rows.add_column(column, overflow="fold")
    return rows


def print_table(rows: Any) -> None:
    """On a terminal in its width; elsewhere, where no line may be cut, in the table's own."""
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
    """What went wrong, in one line."""
    note(f"hdemucs: {' '.join(message.splitlines())}")


def note(message: str) -> None:
    """One line on stderr, where there is one: `print` would turn to stdout."""
    if sys.stderr is not None:
        print(message, file=sys.stderr)


def progress_bar() -> Any:
    """rich's bar with time left, on stderr; it stays silent where nobody looks."""
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
