"""FLAC, written by libsndfile."""

from collections.abc import Mapping
from pathlib import Path

from hdemucs.audio.codecs import Encoding
from hdemucs.audio.codecs.base import Encoder
from hdemucs.audio.codecs.sndfile import SndfileEncoder


def open_encoder(path: Path, encoding: Encoding, length: int, tags: Mapping[str, str]) -> Encoder:
    """See `hdemucs.audio.codecs.Encoding.open_encoder`."""
    return SndfileEncoder(path, encoding, tags, format="FLAC", subtype=f"PCM_{encoding.bits}")
