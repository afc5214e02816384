"""Fenced blocks of a Markdown page, and the words of the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """An example of a page.

    Attributes:
        page: The file.
        line: Line of its first line of text, from 1.
        language: What follows the fence: "sh", "python", ...
        text: Its lines.
        reason: Why no test runs it, None for those that are run.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """Words of each command of a shell block; a backslash at the end joins lines."""
        for line in self.text.replace("\\\n", " ").splitlines():
            # A # within a word begins no comment, other than for shlex.
            if words := shlex.split(re.sub(r"(^|\s)#.*", "", line)):
                yield words


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        found.append(Block(page, line, match["language"], match["text"], match["reason"]))
    return found
