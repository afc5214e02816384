"""Files: written whole or not at all, and recognised by their checksum."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hdemucs.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """An open file under a temporary name beside `path`, which it gets when all is written.

    Folders are made as needed. A process that is killed leaves a hidden folder behind, never half a file.

    Raises:
        OutputError: the folder or the disk refuses; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name[:40]}.") as folder:
            part = Path(folder) / "part"
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> OutputError:
    """What an operating system's refusal to write `path` means."""
    reason = error.strerror or type(error).__name__
    return OutputError(f"{path}: cannot be written ({reason}); choose another folder, or free space")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file as `whole_file` does."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
