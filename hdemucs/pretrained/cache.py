"""Model files: downloaded once into torch.hub's folder, verified, and hidden until complete."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from hdemucs.errors import CheckpointError, DownloadError, one_line
from hdemucs.files import sha256, user_cache
from hdemucs.pretrained.registry import Card, ModelFile

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
RANGE_NOT_SATISFIABLE = 416
MIRROR = "HDEMUCS_MIRROR"
"""Environment variable with the address of a server that has the files of all models, under their paths."""


def hub_dir() -> Path:
    """Folder of torch.hub, shared with other packages; found without importing torch."""
    # Only a program that has imported torch can have called torch.hub.set_dir.
    if hub := sys.modules.get("torch.hub"):
        chosen = Path(hub.get_dir())
        # Where an environment variable is empty, or there is no home folder, torch would use a folder below
        # the current one.
        if chosen not in (Path("hub"), Path("torch/hub")) and chosen.parts[0] != "~":
            return chosen
    return Path(os.environ.get("TORCH_HOME") or user_cache() / "torch").expanduser() / "hub"


def cache_path(file: ModelFile, home: Path | None = None) -> Path:
    """Path of a model file on this machine, whether or not it exists yet.

    Args:
        file: Model file.
        home: Folder that stands for `TORCH_HOME`; None for that of this machine.
    """
    hub = hub_dir() if home is None else home / "hub"
    return file.shipped or hub / file.folder / file.name


def address(file: ModelFile) -> str:
    """Address that a model file is downloaded from: its own or, with `HDEMUCS_MIRROR`, that in the mirror.

    Raises:
        DownloadError: The variable is not a web address.
    """
    mirror = os.environ.get(MIRROR)
    if not mirror or file.shipped is not None:
        return file.url
    if not re.match(r"https?://[^/]", mirror):
        raise DownloadError(f"{MIRROR} must be an address such as https://mirror.example.org, not {mirror!r}")
    return mirror.rstrip("/") + urlsplit(file.url).path


def is_downloaded(card: Card) -> bool:
    """Whether all files of a model exist, by name and size; `download` verifies the checksums as well."""
    return all(_has_size(cache_path(file), file) for file in card.files)


def download(
    card: Card,
    files: Sequence[ModelFile] | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Download the files of a model that are not in the cache yet.

    A file in the cache is used only if its checksum is right, whoever put it there; a file whose card has no
    checksum is used as it is. The next call resumes an interrupted download. If several processes call this
    at once, one of them downloads and the others wait.

    Args:
        card: Card of the model.
        files: Files of the card to download; None for all.
        home: Folder for a machine without a network, which is to be the value of `TORCH_HOME` there; files in
            the cache of this machine are copied. None for the cache of this machine.
        progress: Whether to show a progress bar on stderr.

    Returns:
        Paths of the files, in their order.

    Raises:
        DownloadError: A file cannot be downloaded or written, or its checksum is wrong.
        CheckpointError: A file that ships with hdemucs is missing or damaged.
    """
    folder = None if home is None else Path(home)
    return [_obtain(file, card.name, folder, progress) for file in (card.files if files is None else files)]


def _obtain(file: ModelFile, model: str, home: Path | None, progress: bool) -> Path:
    target = cache_path(file, home)
    if file.shipped is not None:
        if not _is_intact(target, file):
            raise CheckpointError(
                f"{target}, which ships with hdemucs, is missing or damaged; reinstall hdemucs"
            )
        return target
    try:
        # The lock is taken only if needed, so that a complete cache may be read-only.
        if not _is_intact(target, file):
            # Imported here: most runs download nothing, and it takes a tenth of the time of `hdemucs --help`.
            from filelock import FileLock

            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(f".{target.name}.lock")):
                if not _is_intact(target, file):
                    _fetch(file, target, progress)
    except OSError as error:
        remedy = "set TORCH_HOME to another folder" if home is None else "choose another folder"
        raise DownloadError(
            f"cannot download {address(file)}: {_reason(error, target.parent, remedy)}; "
            f"then run `hdemucs models download {model}`, or save the file as {target}"
        ) from error
    return target


def _fetch(file: ModelFile, target: Path, progress: bool) -> None:
    """Download into a hidden partial file, which is renamed to `target` once it is complete and verified."""
    partial = target.with_name(f".{target.name}.part")
    cached = cache_path(file)
    if cached != target and file.sha256 is not None and _is_intact(cached, file):
        shutil.copyfile(cached, partial)
    # Without a checksum, nothing proves that what is there and what follows belong to the same file.
    if file.sha256 is None:
        partial.unlink(missing_ok=True)
    resumed = partial.exists()
    if not (resumed and _is_intact(partial, file)):
        _transfer(file, partial, progress)
    if resumed and not _is_intact(partial, file):
        # The first part may be from another version of the file, or the server may have ignored the range.
        partial.unlink()
        _transfer(file, partial, progress)
    if not _is_intact(partial, file):
        expected = f"{file.size or 'any number of'} bytes with SHA-256 {(file.sha256 or 'unknown')[:16]}"
        found = f"{partial.stat().st_size} bytes with {sha256(partial)[:16]}"
        partial.unlink()
        raise DownloadError(
            f"{address(file)} has the wrong checksum: expected {expected}, received {found}; "
            "the download was removed, try again"
        )
    partial.replace(target)


def _transfer(file: ModelFile, partial: Path, progress: bool) -> None:
    """Append the rest of a file to `partial`; what has arrived is kept if this fails."""
    from huggingface_hub.file_download import http_get

    url = address(file)
    with partial.open("ab") as output, hub_output(progress):
        try:
            http_get(url, output, resume_size=output.tell(), displayed_filename=file.name)
        # Each major version of huggingface_hub uses another HTTP library, with its own exceptions.
        except Exception as error:
            # The partial file is at least as long as the complete one; its checksum decides.
            if _status(error) == RANGE_NOT_SATISFIABLE:
                return
            if getattr(error, "errno", None) in DISK_FULL:
                raise
            raise ConnectionError(_network_reason(error)) from error


@contextlib.contextmanager
def hub_output(progress: bool) -> Iterator[None]:
    """Silence huggingface_hub's warnings (errors are raised anyway) and, unless `progress`, its bars."""
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
    """HTTP status in an exception of huggingface_hub; None if no server answered."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _network_reason(error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if (status := _status(error)) is not None:
        return f"the server answered with status {status}; try again later"
    if isinstance(error, OfflineModeIsEnabled):
        return "it is not in the cache and HF_HUB_OFFLINE is set; unset it"
    return f"the connection failed ({one_line(error)}); check the network"


def _reason(error: OSError, folder: Path, remedy: str) -> str:
    """Why a download failed, and what to do before trying again."""
    if isinstance(error, ConnectionError):
        return str(error)
    if error.errno in DISK_FULL:
        return f"the disk that holds {folder} is full; free some space, or {remedy}"
    return f"{folder} is not writable ({error.strerror or error}); {remedy}"
