"""Model files: fetched once into torch.hub's cache folder, verified, and never seen there half-written."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from hdemucs.errors import CheckpointError, DownloadError
from hdemucs.files import sha256
from hdemucs.pretrained.registry import Card, ModelFile

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
RANGE_NOT_SATISFIABLE = 416


def hub_dir() -> Path:
    """torch.hub's folder, found without importing torch; what other packages downloaded is there too."""
    # Only a program that has imported torch can have called torch.hub.set_dir.
    if hub := sys.modules.get("torch.hub"):
        return Path(hub.get_dir())
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub"


def cache_path(file: ModelFile) -> Path:
    """Where `file` is, or will be, on this machine."""
    return file.shipped or hub_dir() / file.folder / file.name


def is_downloaded(card: Card) -> bool:
    """Whether all files of a model are there, by name and size; `download` verifies the checksums."""
    return all(_has_size(cache_path(file), file) for file in card.files)


def download(card: Card, *, progress: bool = True) -> list[Path]:
    """The files of a model, in the card's order; those that are not in the cache yet are downloaded.

    A file is used only when its checksum is right, however it came into the cache (one whose card has no
    checksum is taken as it is). An interrupted download goes on where it stopped the next time. Several
    processes may call this at once: one downloads, the others wait. `progress` draws a bar on stderr.
    Raises `DownloadError`, or `CheckpointError` for a damaged file of a model that ships.
    """
    return [_obtain(file, card.name, progress) for file in card.files]


def _obtain(file: ModelFile, model: str, progress: bool) -> Path:
    target = cache_path(file)
    if file.shipped is not None:
        if not _is_intact(target, file):
            raise CheckpointError(
                f"{target}, a part of hdemucs, is missing or damaged; install hdemucs again"
            )
        return target
    try:
        # The lock comes second, so that a cache that is complete may be read-only.
        if not _is_intact(target, file):
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(f".{target.name}.lock")):
                if not _is_intact(target, file):
                    _fetch(file, target, progress)
    except OSError as error:
        raise DownloadError(
            f"Cannot download {file.url}: {_reason(error, target.parent)}; "
            f"then run `hdemucs models download {model}`, or put the file at {target} by hand"
        ) from error
    return target


def _fetch(file: ModelFile, target: Path, progress: bool) -> None:
    """Download into a hidden partial file, and give it its name once it is whole and right."""
    partial = target.with_name(f".{target.name}.part")
    # Pieces can be joined only where a checksum proves that they belong together.
    if file.sha256 is None:
        partial.unlink(missing_ok=True)
    resumed = partial.exists()
    if not (resumed and _is_intact(partial, file)):
        _transfer(file, partial, progress)
    if resumed and not _is_intact(partial, file):
        # The beginning may come from another version of the file, or a server without ranges.
        partial.unlink()
        _transfer(file, partial, progress)
    if not _is_intact(partial, file):
        expected = f"{file.size or 'any number of'} bytes with SHA-256 {(file.sha256 or 'unknown')[:16]}"
        found = f"{partial.stat().st_size} bytes with {sha256(partial)[:16]}"
        partial.unlink()
        raise DownloadError(
            f"{file.url} has the wrong checksum: {expected} expected, {found} received; "
            "they were removed, try again"
        )
    partial.replace(target)


def _transfer(file: ModelFile, partial: Path, progress: bool) -> None:
    """Append to `partial` what is missing at its end; what has arrived stays when this fails."""
    from huggingface_hub.file_download import http_get

    with partial.open("ab") as output, hub_output(progress):
        try:
            http_get(file.url, output, resume_size=output.tell(), displayed_filename=file.name)
        # Each major version of huggingface_hub brought another HTTP library, with exceptions of its own.
        except Exception as error:
            # A partial file as long as the real one, or longer, is for the checksum to judge.
            if _status(error) == RANGE_NOT_SATISFIABLE:
                return
            if getattr(error, "errno", None) in DISK_FULL:
                raise
            raise ConnectionError(_network_reason(error)) from error


@contextlib.contextmanager
def hub_output(progress: bool) -> Iterator[None]:
    """Silence huggingface_hub's warnings (its errors arrive as exceptions), and its bars unless wanted."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    silenced = not progress and not are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if silenced:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if silenced:
            enable_progress_bars()


def _has_size(path: Path, file: ModelFile) -> bool:
    return path.is_file() and file.size in (None, path.stat().st_size)


def _is_intact(path: Path, file: ModelFile) -> bool:
    return _has_size(path, file) and (file.sha256 is None or sha256(path).startswith(file.sha256))


def _status(error: Exception) -> int | None:
    """The HTTP status that an exception of huggingface_hub carries; None if no server answered."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _network_reason(error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if (status := _status(error)) is not None:
        return f"the server answers with status {status}; wait until it serves the file again"
    if isinstance(error, OfflineModeIsEnabled):
        return "it is not in the cache, and HF_HUB_OFFLINE is set; unset it"
    details = " ".join(str(error).split()) or type(error).__name__
    return f"the connection failed ({details}); check the network"


def _reason(error: OSError, folder: Path) -> str:
    """What went wrong, and what to do about it before trying again."""
    if isinstance(error, ConnectionError):
        return str(error)
    if error.errno in DISK_FULL:
        return f"the disk that holds {folder} is full; free some space or set TORCH_HOME to another folder"
    return f"{folder} cannot be written to ({error.strerror or error}); set TORCH_HOME to another folder"
