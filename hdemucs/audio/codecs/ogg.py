"""Ogg Vorbis, written by libsndfile."""

from collections.abc import Mapping
from pathlib import Path

from hdemucs.audio.codecs import Encoding
from hdemucs.audio.codecs.base import Encoder
from hdemucs.audio.codecs.sndfile import SndfileEncoder

# Vorbis quality 8 of 10, about 256 kbit/s in stereo: stems are mixed again, which uncovers artefacts.
_LEVEL = 0.2


def open_encoder(path: Path, encoding: Encoding, length: int, tags: Mapping[str, str]) -> Encoder:
    """See `hdemucs.audio.codecs.Encoding.open_encoder`."""
    return SndfileEncoder(path, encoding, tags, format="OGG", subtype="VORBIS", compression_level=_LEVEL)
