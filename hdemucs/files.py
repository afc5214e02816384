"""Files and folders: written whole or not at all, cached in one place, identified by checksum."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hdemucs.errors import OutputError

if TYPE_CHECKING:
    from filelock import FileLock

_PART = re.compile(r"\..*\.[0-9a-f]{8}\.(part|lock)", re.DOTALL)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file under a temporary name beside `path`, to be renamed to `path` when the `with` block ends.

    Parent folders are created as needed. A process that is killed leaves a hidden folder behind, never half
    a file; the next one that writes in the same folder removes it.

    Raises:
        OutputError: The folder cannot be written, or the disk is full; nothing is left behind.
    """
    with _part_of(path) as part:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Create a folder under a temporary name beside `path`, to be renamed when the `with` block ends.

    Raises:
        OutputError: The folder cannot be written, the disk is full, or `path` exists; nothing is left behind.
    """
    with _part_of(path) as part:
        part.mkdir()
        yield part
        part.rename(path)


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Name in a temporary folder beside `path`, for what will be renamed to `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path, folder=True) as folder:
            yield folder / "part"
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def temporary_beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Create `.NAME.XXXXXXXX.part` in the folder of `path`; what is left of it is removed at the end.

    Those that killed processes left in that folder are removed first. A lock beside each,
    `.NAME.XXXXXXXX.lock`, tells whether its process is alive: a file that is open itself could not be renamed
    on Windows.

    Args:
        path: Final name of what is going to be written.
        folder: Whether to create a folder instead of a file.

    Raises:
        OSError: The folder of `path` cannot be written.
    """
    _remove_stale(path.parent)
    part, lock = _locked_name(path)
    try:
        if folder:
            part.mkdir(0o700)
        else:
            part.open("xb").close()
        yield part
    finally:
        _remove(part)
        _free(lock)


def _locked_name(path: Path) -> "tuple[Path, FileLock]":
    """New name of a temporary file or folder, and the lock that keeps other processes from removing it."""
    from filelock import Timeout

    for _ in range(10):
        # The name is cut so that a name as long as the system allows does not become too long.
        part = path.with_name(f".{path.name[:48]}.{secrets.token_hex(4)}.part")
        lock = _lock_of(part)
        try:
            lock.acquire(timeout=0)
        except NotImplementedError:
            break
        except Timeout:
            # A process that cleans up was faster. The name is given up for good, so that nobody else who has
            # seen it can remove what is written next.
            _remove(Path(lock.lock_file))
            continue
        if Path(lock.lock_file).exists():
            return part, lock
        lock.release()
    # Some file systems have no locks: then nobody can lock it in order to remove the part, either.
    return part, lock


def _lock_of(part: Path) -> "FileLock":
    from filelock import FileLock  # later, since commands that write nothing start faster without it

    # What one thread creates, another may remove.
    return FileLock(part.with_suffix(".lock"), thread_local=False)


def _remove_stale(folder: Path) -> None:
    """Remove temporary files and folders whose process is gone, and with it its lock."""
    from filelock import Timeout

    for part in {path.with_suffix(".part") for path in folder.glob(".*") if _PART.fullmatch(path.name)}:
        lock = _lock_of(part)
        with suppress(OSError, Timeout, NotImplementedError):
            lock.acquire(timeout=0)
            _remove(part)
            _free(lock)


def _free(lock: "FileLock") -> None:
    """Release a lock and remove its file: before anybody else can lock it or, on Windows, by releasing it."""
    _remove(Path(lock.lock_file))
    lock.release()


def _remove(part: Path) -> None:
    """Remove a temporary file or folder, if it is there."""
    with suppress(OSError):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> OutputError:
    """OutputError, with a remedy, for a file or folder that the operating system fails to write."""
    reason = error.strerror or type(error).__name__
    return OutputError(f"{path}: cannot be written ({reason}); choose another folder, or free some space")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one go, as `whole_file` does; text is encoded as UTF-8."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def user_cache() -> Path:
    """Folder for files that can be recreated: `$XDG_CACHE_HOME`, or `~/.cache` if that is unset or empty.

    A user without a home folder, as in some containers, gets one among the temporary files.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"hdemucs-{getattr(os, 'getuid', int)()}"


def cache_folder(name: str) -> Path:
    """Folder of this library's cache for one purpose, such as "scans"; it may not exist yet."""
    return user_cache() / "hdemucs" / name


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
