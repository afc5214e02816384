"""The pages of an Ogg file (RFC 3533): what libsndfile does not tell, or writes otherwise."""

from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

_HEADER = 27
_LONGEST_PAGE = _HEADER + 255 + 255 * 255
_LAST = 4  # flag of the last page of a stream
# Of the checksums, whose bits are coefficients modulo 2 (section 6).
_POLYNOMIAL = 0x104C11DB7


def lacks_end(path: Path) -> bool:
    """Whether the last page is cut, or not marked as the last: Ogg does not state a length."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 2 * _LONGEST_PAGE))
        tail = file.read()
    start = tail.rfind(b"OggS\0")
    if start < 0:
        return False
    page = tail[start:]
    whole = len(page) > _HEADER + page[_HEADER - 1] if len(page) >= _HEADER else False
    return not (whole and page[5] & _LAST and len(page) >= _size(page))


def clear_serial(file: BinaryIO) -> None:
    """Set the serial number of all pages, which is drawn at random, to 0, and correct their checksums."""
    place = 0
    while len(page := file.read(_HEADER)) == _HEADER and page.startswith(b"OggS"):
        size = _size(page + file.read(page[_HEADER - 1]))
        serial = int.from_bytes(page[14:18], "big")
        # A checksum is linear: it changes by that of a page which has nothing but the change in it.
        change = _product(serial, _power(8 * (size - 14)))
        checksum = int.from_bytes(page[22:26], "little") ^ change
        file.seek(place + 14)
        file.write(bytes(4) + page[18:22] + checksum.to_bytes(4, "little"))
        place += size
        file.seek(place)


def _size(page: bytes) -> int:
    """Size of a page of which at least the header and its table of segments are there."""
    segments = page[_HEADER - 1]
    return _HEADER + segments + sum(page[_HEADER : _HEADER + segments])


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
