"""Audio in and out, block by block: memory never depends on the length of a track.

Importing the package loads nothing else; the first use of a name does, so that the table of formats,
`codecs.CODECS`, can be read without waiting for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdemucs.audio.conversion import convert, convert_live, convert_part
    from hdemucs.audio.decode import open
    from hdemucs.audio.encode import StemWriter
    from hdemucs.audio.remixing import remix
    from hdemucs.audio.resampling import resample
    from hdemucs.audio.source import AudioSource, from_samples
else:
    _HOMES = {
        "AudioSource": "source",
        "StemWriter": "encode",
        "convert": "conversion",
        "convert_live": "conversion",
        "convert_part": "conversion",
        "from_samples": "source",
        "open": "decode",
        "remix": "remixing",
        "resample": "resampling",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "AudioSource",
    "StemWriter",
    "convert",
    "convert_live",
    "convert_part",
    "from_samples",
    "open",
    "remix",
    "resample",
]
