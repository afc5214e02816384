"""Ogg Vorbis, written by libsndfile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdemucs.audio.codecs import Encoding, pages
from hdemucs.audio.codecs.base import Encoder
from hdemucs.audio.codecs.sndfile import SndfileEncoder

# Vorbis quality 8 of 10, about 256 kbit/s in stereo: stems are mixed again, which uncovers artefacts.
_LEVEL = 0.2


def open_encoder(path: Path, encoding: Encoding, length: int, tags: Mapping[str, str]) -> Encoder:
    """See `hdemucs.audio.codecs.Encoding.open_encoder`."""
    return _OggEncoder(path, encoding, tags, format="OGG", subtype="VORBIS", compression_level=_LEVEL)


class _OggEncoder(SndfileEncoder):
    """A file whose serial number is not drawn at random, so that equal stems are equal files."""

    def __init__(self, path: Path, encoding: Encoding, tags: Mapping[str, str], **options: Any) -> None:
        super().__init__(path, encoding, tags, **options)
        self._path = path

    def close(self) -> None:
        super().close()
        with self._path.open("r+b") as file:
            pages.clear_serial(file)
