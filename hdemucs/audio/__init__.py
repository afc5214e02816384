"""Audio in and out, block by block: memory never depends on the length of a track."""

from hdemucs.audio.convert import convert, convert_part
from hdemucs.audio.decode import open
from hdemucs.audio.encode import StemWriter
from hdemucs.audio.remix import remix
from hdemucs.audio.resample import resample
from hdemucs.audio.source import AudioSource, from_samples

__all__ = [
    "AudioSource",
    "StemWriter",
    "convert",
    "convert_part",
    "from_samples",
    "open",
    "remix",
    "resample",
]
