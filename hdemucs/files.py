"""Files and folders: written whole or not at all, cached in one place, identified by checksum."""

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
    """Open a file under a temporary name beside `path`; it is renamed to `path` when the block ends.

    Parent folders are created as needed. A process that is killed leaves a hidden folder behind, never half
    a file.

    Raises:
        OutputError: The folder cannot be written, or the disk is full; nothing is left behind.
    """
    with _temporary_beside(path) as part:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Create a folder under a temporary name beside `path`; it is renamed to `path` when the block ends.

    Raises:
        OutputError: The folder cannot be written, the disk is full, or `path` exists; nothing is left behind.
    """
    with _temporary_beside(path) as part:
        part.mkdir()
        yield part
        part.rename(path)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name[:40]}.") as folder:
            yield Path(folder) / "part"
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> OutputError:
    """Error for a file or folder that the operating system does not let us write."""
    reason = error.strerror or type(error).__name__
    return OutputError(f"{path}: cannot be written ({reason}); choose another folder, or free some space")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one go, as `whole_file` does; text is encoded as UTF-8."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def user_cache() -> Path:
    """Folder for files that can be recreated: `$XDG_CACHE_HOME`, or `~/.cache` where it is unset or empty.

    A user without a home folder, as in some containers, gets one among the temporary files.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"hdemucs-{getattr(os, 'getuid', int)()}"


def cache_folder(name: str) -> Path:
    """Folder of this library's cache for one purpose, such as `scans`; it may not exist yet."""
    return user_cache() / "hdemucs" / name


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
