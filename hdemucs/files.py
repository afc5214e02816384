"""Files: written whole or not at all, and recognised by their checksum."""

import hashlib
import os
import tempfile
from pathlib import Path

from hdemucs.errors import OutputError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name beside it, then rename; folders are made as needed.

    Raises:
        OutputError: the folder or the disk refuses; nothing is left behind.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name[:40]}.") as folder:
            part = Path(folder) / "part"
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"{path}: cannot be written ({reason}); choose another folder, or free space"
        ) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
