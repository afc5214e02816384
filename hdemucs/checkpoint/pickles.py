"""Read torch's pickled files without running anything in them."""

import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch.serialization import safe_globals

from hdemucs.checkpoint.importers.demucs import CLASSES
from hdemucs.checkpoint.limits import fraction
from hdemucs.errors import CheckpointError, one_line

TORCH_GLOBALS = re.compile(
    r"torch\._utils\._rebuild_(tensor_v2|tensor|parameter)|torch\.(\w+Storage|Size|device|\w*float\w*|\w*int\w*)"
    r"|torch\.storage\._?\w*Storage|collections\.OrderedDict|fractions\.Fraction|_codecs\.encode"
)
"""Names that torch itself writes into a file of tensors; its own list of harmless names is far longer."""
MAX_OPERATIONS = 5_000_000
LEGACY_PICKLES = 5
"""Number of pickles at the start of a file in torch's format from before 1.6; raw numbers follow."""


class ClassName:
    """Stand-in for a class that a file names; calling it does nothing.

    Attributes:
        path: Full name of the class, such as `demucs.hdemucs.HDemucs`.
    """

    path: str


STAND_INS: list[type[ClassName]] = [type(path, (ClassName,), {"path": path}) for path in CLASSES]


def read_pickle(path: Path) -> Any:
    """Read what `torch.save` wrote, if it consists of tensors, plain values and names of known classes.

    Raises:
        CheckpointError: The file contains anything else, is damaged, or unpacks to more than its size.
        OSError: The file cannot be read.
    """
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            _check_archive(path)
        else:
            with path.open("rb") as file:
                _check_pickles(file, LEGACY_PICKLES)
        allowed: list[Any] = [(stand_in, stand_in.path) for stand_in in STAND_INS]
        with safe_globals([*allowed, (fraction, "fractions.Fraction")]):
            # Memory-mapped, since weights in half precision are read only once, for conversion.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (CheckpointError, OSError):
        raise
    except (Exception, MemoryError) as error:  # damaged files make torch and pickle raise almost anything
        # Only the first sentence: in torch's messages, the second recommends loading the file unsafely.
        reason = one_line(error).partition(". ")[0]
        raise CheckpointError(f"it is damaged or not a model file ({reason}); download it again") from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked, size = sum(entry.file_size for entry in entries), path.stat().st_size
        # torch does not compress what it saves.
        if unpacked > size:
            raise CheckpointError(f"its {size} bytes would unpack to {unpacked}, which no saved model does")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as file:
                    _check_pickles(file, 1)


def _check_pickles(file: IO[bytes], count: int) -> None:
    """Raise CheckpointError if any of `count` consecutive pickles imports a name that no model file needs."""
    operations = 0
    texts = ["", ""]
    for _ in range(count):
        for operation, argument, _ in pickletools.genops(file):
            operations += 1
            if operations > MAX_OPERATIONS:
                raise CheckpointError(f"it takes more than {MAX_OPERATIONS} operations to unpickle")
            if operation.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                name = ".".join(texts) if argument is None else str(argument).replace(" ", ".", 1)
                if not (name in CLASSES or TORCH_GLOBALS.fullmatch(name)):
                    raise CheckpointError(
                        f"it asks for {name:.60}, which no model file needs; it was not loaded"
                    )
            elif isinstance(argument, str):
                texts = [texts[1], argument]
