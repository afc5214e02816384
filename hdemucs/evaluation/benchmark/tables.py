"""Markdown tables of scores."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def decibels(value: float | None) -> str:
    """A score in dB with two decimals; a dash if it is None or NaN."""
    return "-" if value is None or value != value else f"{value:.2f}"
