"""Read torch's pickled files without running anything in them."""

import zipfile
from fractions import Fraction
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from hdemucs.checkpoint.build import listing
from hdemucs.checkpoint.importers.demucs import CLASSES
from hdemucs.errors import CheckpointError, one_line


class ClassName:
    """Stand-in for a class that a file names; calling it builds nothing."""

    path: str


STAND_INS: list[type[ClassName]] = [type(path, (ClassName,), {"path": path}) for path in CLASSES]


def read_pickle(path: Path) -> Any:
    """Read what `torch.save` wrote, if it consists of tensors, plain values and names of known classes.

    Raises:
        CheckpointError: The file contains anything else, is damaged, or unpacks to more than its size.
    """
    refuse_bomb(path)
    allowed: list[Any] = [(stand_in, stand_in.path) for stand_in in STAND_INS]
    try:
        with safe_globals([*allowed, Fraction]):
            # Memory-mapped, since weights in half precision are read only once, to be converted.
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, MemoryError, TypeError) as error:
        raise CheckpointError(
            f"it is damaged or not a model file ({one_line(error)}); download it again"
        ) from error


def refuse_bomb(path: Path) -> None:
    """Raise CheckpointError for an archive that unpacks to more than its size: torch does not compress."""
    if not zipfile.is_zipfile(path):
        return
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"it is a damaged archive ({one_line(error)}); download it again") from error
    if unpacked > size:
        raise CheckpointError(f"its {size} bytes would unpack to {unpacked}, which no saved model does")


def _refusal(path: Path, error: UnpicklingError) -> str:
    try:
        wanted = get_unsafe_globals_in_checkpoint(path)
    except Exception:
        # Only zip archives can be inspected; the refusal itself stands.
        wanted = []
    known = set(CLASSES) | {"fractions.Fraction"}
    names = [name for name in wanted if name not in known]
    if names:
        return f"it asks for {listing(names)}, which no model file needs; it was not loaded"
    return f"it contains more than weights and settings; it was not loaded ({one_line(error)})"
