"""Ogg Vorbis, written by libsndfile."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from hdemucs.audio.codecs import Encoding
from hdemucs.audio.codecs.base import Encoder
from hdemucs.audio.codecs.sndfile import SndfileEncoder

# Vorbis quality 8 of 10, about 256 kbit/s in stereo: stems are mixed again, which uncovers artefacts.
_LEVEL = 0.2
# Of the checksums of pages, whose bits are coefficients modulo 2 (RFC 3533, section 6).
_POLYNOMIAL = 0x104C11DB7


def open_encoder(path: Path, encoding: Encoding, length: int, tags: Mapping[str, str]) -> Encoder:
    """See `hdemucs.audio.codecs.Encoding.open_encoder`."""
    return _OggEncoder(path, encoding, tags, format="OGG", subtype="VORBIS", compression_level=_LEVEL)


class _OggEncoder(SndfileEncoder):
    """A file whose serial number is not drawn at random, so that equal stems are equal files."""

    def __init__(
        self, path: Path, encoding: Encoding, tags: Mapping[str, str], **options: str | float
    ) -> None:
        super().__init__(path, encoding, tags, **options)
        self._path = path

    def close(self) -> None:
        super().close()
        with self._path.open("r+b") as file:
            _clear_serial(file)


def _clear_serial(file: BinaryIO) -> None:
    """Set the serial number of all pages to 0, and correct their checksums; those cleared before stay."""
    place = 0
    while len(header := file.read(27)) == 27 and header.startswith(b"OggS"):
        size = len(header) + header[26] + sum(file.read(header[26]))
        serial = int.from_bytes(header[14:18], "big")
        # A checksum is linear: it changes by that of a page which has nothing but the change in it.
        change = _product(serial, _power(8 * (size - 14)))
        checksum = int.from_bytes(header[22:26], "little") ^ change
        file.seek(place + 14)
        file.write(bytes(4) + header[18:22] + checksum.to_bytes(4, "little"))
        place += size
        file.seek(place)


def _product(a: int, b: int) -> int:
    """Product of two polynomials of degree below 32, modulo `_POLYNOMIAL`."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a >> 32:
            a ^= _POLYNOMIAL
        b >>= 1
    return product


@lru_cache(maxsize=4096)
def _power(exponent: int) -> int:
    """x to a power, modulo `_POLYNOMIAL`."""
    if exponent < 32:
        return 1 << exponent
    half = _power(exponent // 2)
    square = _product(half, half)
    return _product(square, 2) if exponent % 2 else square
