"""Reading torch's pickled files without running anything in them."""

import zipfile
from fractions import Fraction
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from hdemucs.checkpoint.build import listing
from hdemucs.checkpoint.foreign import CLASSES
from hdemucs.errors import CheckpointError, one_line


class ClassName:
    """Stands in for a class that a file names; calling it builds nothing."""

    path: str


STAND_INS: list[type[ClassName]] = [type(path, (ClassName,), {"path": path}) for path in CLASSES]


def read_pickle(path: Path) -> Any:
    """What `torch.save` wrote, of tensors, plain values and the names of known classes.

    Raises:
        CheckpointError: anything else in the file, or a file that is damaged or larger inside than outside.
    """
    refuse_bomb(path)
    allowed: list[Any] = [(stand_in, stand_in.path) for stand_in in STAND_INS]
    try:
        with safe_globals([*allowed, Fraction]):
            # Mapped, since weights in half precision are read once, to be converted.
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, MemoryError, TypeError) as error:
        raise CheckpointError(f"it is damaged or no model file ({one_line(error)}); get it again") from error


def refuse_bomb(path: Path) -> None:
    """Raise CheckpointError for an archive that unpacks to more than itself: torch does not compress."""
    if not zipfile.is_zipfile(path):
        return
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"it is a damaged archive ({one_line(error)}); get it again") from error
    if unpacked > size:
        raise CheckpointError(f"its {size} bytes would unpack to {unpacked}, which no saved model does")


def _refusal(path: Path, error: UnpicklingError) -> str:
    try:
        wanted = get_unsafe_globals_in_checkpoint(path)
    except Exception:
        # Only zip archives can be asked; the refusal itself stands.
        wanted = []
    known = set(CLASSES) | {"fractions.Fraction"}
    names = [name for name in wanted if name not in known]
    if names:
        return f"it wants to use {listing(names)}, which a model file has no need of; it was not loaded"
    return f"it holds more than weights and settings and was not loaded ({one_line(error)})"
