"""Pipes: `-` as input is read from stdin, `-o -` writes a stem to stdout."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from hdemucs.errors import OptionError
from hdemucs.files import write_error
from hdemucs.tracks import Track

PIPE = Path("-")
PIPED_NAME = "stdin"
"""Name of the track that comes from stdin, and of the folder of its stems."""


@contextmanager
def pipe_folder() -> Iterator[Path]:
    """Yield a folder for what passes through a pipe: audio is read more than once, and written whole.

    Raises:
        OutputError: There is no room for a folder among the temporary files.
    """
    try:
        temporary = tempfile.TemporaryDirectory(prefix="hdemucs-")
    except OSError as error:
        raise write_error(Path(tempfile.gettempdir()), error) from error
    with temporary as folder:
        yield Path(folder)


def take_stdin(tracks: Sequence[Track], folder: Path) -> list[Track]:
    """Copy stdin to a file in `folder` if one of the tracks is `-`, and put that file in its place.

    Raises:
        OptionError: Stdin is a terminal, from which no audio comes.
        OutputError: There is no room for the file.
    """
    if not any(track.path == PIPE for track in tracks):
        return list(tracks)
    spooled = folder / PIPED_NAME
    source = _binary(sys.stdin)
    if source.isatty():
        raise OptionError("- reads audio from a pipe, and there is none; give the name of a file")
    try:
        with spooled.open("wb") as file:
            shutil.copyfileobj(source, file)
    except OSError as error:
        raise write_error(spooled, error) from error
    return [
        replace(track, path=spooled, name=PIPED_NAME) if track.path == PIPE else track for track in tracks
    ]


def check_stdout(tracks: Sequence[Track], stems: Sequence[str], json: bool) -> None:
    """Check that what is to be written to stdout is one stem of one track, and that it goes into a pipe.

    Raises:
        OptionError: It is not, or stdout is a terminal.
    """
    if len(tracks) != 1 or len(stems) != 1:
        raise OptionError("-o - writes one stem of one song; choose it, for example with --stems vocals")
    if json:
        raise OptionError("-o - and --json would both write to stdout; choose one of them")
    if sys.stdout is None or sys.stdout.isatty():
        raise OptionError("-o - writes audio, which a terminal cannot show; redirect it into a file or pipe")


def give_stdout(file: Path) -> None:
    """Write a file to stdout."""
    with file.open("rb") as stem:
        shutil.copyfileobj(stem, sys.stdout.buffer)


def _binary(stream: object) -> BinaryIO:
    if stream is None:
        raise OptionError("- reads audio from stdin, which is closed; give the name of a file")
    binary: BinaryIO = stream.buffer  # type: ignore[attr-defined]
    return binary
