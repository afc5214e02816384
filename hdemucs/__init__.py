"""Music source separation with Hybrid Demucs: a song in; drums, bass, other and vocals out.

    import hdemucs

    stems = hdemucs.separate("song.mp3")
    stems.save("separated/song")

Importing the package does not import torch; the first use of a name does. To separate many tracks in one
call, use `hdemucs.batch`.
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from hdemucs import errors
from hdemucs.errors import HDemucsError

if TYPE_CHECKING:
    from hdemucs.apply import Options, Progress
    from hdemucs.pretrained import load_model
    from hdemucs.separator import Separator, separate
    from hdemucs.stems import Format, Stems

try:
    __version__ = version("hdemucs")
except PackageNotFoundError:
    # The package runs from a source folder on the path, without being installed.
    __version__ = "0+unknown"

_HOMES = {
    "Format": "stems",
    "Options": "apply",
    "Progress": "apply",
    "Separator": "separator",
    "Stems": "stems",
    "load_model": "pretrained",
    "separate": "separator",
}

__all__ = [
    "Format",
    "HDemucsError",
    "Options",
    "Progress",
    "Separator",
    "Stems",
    "errors",
    "load_model",
    "separate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hdemucs' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hdemucs.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
