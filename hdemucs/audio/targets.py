"""Where files are written: temporary names first, final names once all are whole."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hdemucs import files
from hdemucs.errors import OutputError

_ELSEWHERE = "choose another folder for the output"
_FULL = f"the disk is full; free some space, or {_ELSEWHERE}"
_NOT_A_FOLDER = f"a part of its path is a file, not a folder; {_ELSEWHERE}"
_FORBIDDEN = f"you do not have permission to write in its folder; {_ELSEWHERE}"
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "files may not grow that large here; choose mp3 or flac, or another disk",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: f"its disk is read-only; {_ELSEWHERE}",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.EISDIR: "it is a folder; choose another name",
}


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError raised while `path` is written into an OutputError with a remedy.

    An OSError without an `errno` comes from an encoder, and is a message with a remedy already.
    """
    try:
        yield
    except OSError as error:
        unknown = f"{error.strerror}; {_ELSEWHERE}" if error.strerror else str(error)
        raise OutputError(f"cannot write {path}: {_REASONS.get(error.errno or 0, unknown)}") from None


def prepare_target(path: Path) -> None:
    """Create the folder of `path`, and find an impossible name now rather than after hours of work.

    Raises:
        OutputError: The folder cannot be created, or `path` is a folder or not a possible name.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.lstat()
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def temporary_beside(path: Path, cleanup: ExitStack) -> Path:
    """Create an empty hidden file in the folder of `path`, which `cleanup` removes if it is still there.

    Raises:
        OutputError: The file cannot be created.
    """
    with write_errors(path):
        return cleanup.enter_context(files.temporary_beside(path))


def place(parts: dict[Path, Path]) -> None:
    """Give finished files (temporary name -> final name) their final names: all of them, or none.

    Files that had these names are gone only when all have been replaced.

    Raises:
        OutputError: A file cannot be renamed.
    """
    with ExitStack() as cleanup, ExitStack() as undo:
        for part, path in parts.items():
            with write_errors(path):
                if os.path.lexists(path):
                    old = cleanup.enter_context(files.temporary_beside(path, folder=True)) / "old"
                    _duplicate(path, old)
                    undo.callback(_put_back, old, path)
                    part.replace(path)
                else:
                    part.replace(path)
                    undo.callback(_remove, path)
        undo.pop_all()


def _duplicate(path: Path, copy: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    try:
        os.link(path, copy, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(path, copy, follow_symlinks=False)


def _put_back(old: Path, path: Path) -> None:
    with suppress(OSError):
        old.replace(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
