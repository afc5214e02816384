"""Where files go: temporary names, and what an operating system's refusal means to the user."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import soundfile

from hdemucs.errors import OutputError

_ELSEWHERE = "choose another folder for the output"
_FULL = f"the disk is full; free some space, or {_ELSEWHERE}"
_NOT_A_FOLDER = f"a part of its path is a file, not a folder; {_ELSEWHERE}"
_REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "files may not grow that large here; choose mp3 or flac, or another disk",
    errno.EACCES: f"its folder is not yours to write in; {_ELSEWHERE}",
    errno.EPERM: f"its folder is not yours to write in; {_ELSEWHERE}",
    errno.EROFS: f"its disk is read-only; {_ELSEWHERE}",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.EISDIR: "it is a folder; choose another name",
}


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the operating system or libsndfile raises while `path` is written into an OutputError."""
    try:
        yield
    except soundfile.SoundFileError:
        # libsndfile keeps the system's reason to itself; of a file that could be opened, it is this one.
        raise OutputError(
            f"cannot write {path}: the disk seems full; free some space, or {_ELSEWHERE}"
        ) from None
    except OSError as error:
        reason = _REFUSALS.get(error.errno or 0, f"{error.strerror or error}; {_ELSEWHERE}")
        raise OutputError(f"cannot write {path}: {reason}") from None


def prepare_target(path: Path) -> None:
    """Make the folder of `path`, and find out before hours of work whether the name itself is refused."""
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.lstat()
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def temporary_beside(path: Path, cleanup: ExitStack) -> Path:
    """Make an empty hidden file in the folder of `path`, that `cleanup` removes if it is still there."""
    # The name is cut so that a name as long as the system allows does not become too long.
    part = path.with_name(f".{path.name[:48]}.{secrets.token_hex(4)}.part")
    cleanup.callback(_remove, part)
    with refusals(path), part.open("xb"):
        return part


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def place(parts: dict[Path, Path]) -> None:
    """Give finished files (temporary name -> final name) their final names: all, or none of them."""
    with ExitStack() as undo:
        for part, path in parts.items():
            with refusals(path):
                part.replace(path)
            undo.callback(_remove, path)
        undo.pop_all()
