"""Tables of scores, which become Markdown in files and pipes, and are laid out on terminals."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreTable:
    """A table of scores.

    Attributes:
        title: Line above it.
        header: Names of the columns.
        rows: Cells of each row.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Title and table in Markdown."""
        cells = (self.header, ["---"] * len(self.header), *self.rows)
        return "\n".join([self.title, "", *(f"| {' | '.join(row)} |" for row in cells)]) + "\n"


def decibels(value: float) -> str:
    """A score in dB with two decimals; a dash if it is NaN."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return "-" if value != value else f"{round(value, 2) + 0:.2f}"


def songs_in_words(count: int) -> str:
    """A number of songs: `1 song`, `2 songs`."""
    return f"{count} song{'s' * (count != 1)}"
