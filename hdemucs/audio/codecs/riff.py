"""The chunks of a RIFF file, such as a WAV: what libsndfile does not tell, or reads and writes otherwise."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

# More than any program writes before the samples: a file of zeros is not gone through to its end.
_MOST_CHUNKS = 1000
# Bytes of chunks behind the samples of a recording whose size has wrapped: tags, and the like.
_MOST_BEHIND = 2**20


@dataclass(frozen=True)
class Chunk:
    """A chunk.

    Attributes:
        name: Four bytes, such as `b"data"`.
        place: Position of its content in the file.
        size: Size of its content in bytes, as the file states it.
    """

    name: bytes
    place: int
    size: int


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Chunks of a RIFF or RIFX file, in order, up to the one with the samples, `data`."""
    order = _order(file)
    place = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        chunk = Chunk(header[:4], place + 8, int.from_bytes(header[4:], order))
        yield chunk
        if chunk.name == b"data":
            return
        place = chunk.place + chunk.size + chunk.size % 2


@dataclass(frozen=True)
class Data:
    """Where the samples of a WAV really are.

    Attributes:
        place: Position of the first one in the file.
        size: Size of them all in bytes.
        order: Their byte order.
    """

    place: int
    size: int
    order: Literal["big", "little"]

    @contextmanager
    def open(self, path: Path) -> Iterator["_Window"]:
        """Open the samples as a file of their own."""
        with path.open("rb") as file:
            yield _Window(file, self.place, self.size)


def misstated(path: Path) -> Data | None:
    """Samples of a WAV that goes on where its header says that it ends; None for any other WAV.

    The sizes in a header have 32 bits. Beyond 4 GiB some programs let them wrap around; those that write to
    a pipe, or that are killed, leave what they began with.
    """
    with path.open("rb") as file:
        total = file.seek(0, os.SEEK_END)
        order = _order(file)
        file.seek(4)
        end = int.from_bytes(file.read(4), order) + 8
        data = next((chunk for chunk in chunks(file) if chunk.name == b"data"), None)
    if data is None:
        return None
    there = total - data.place
    if total > 2**32 + 8:
        behind = (there - data.size) % 2**32
        wrapped = data.size and not unknown(data.size) and behind <= _MOST_BEHIND
        return Data(data.place, there - behind if wrapped else there, order)
    if data.size == 0 and end <= data.place < total:
        return Data(data.place, there, order)
    return None


def unknown(size: int) -> bool:
    """Whether a size is the largest one, signed or not, or nearly: it was not known when it was written."""
    return 0x7FFF_0000 <= size <= 2**31 or size >= 0xFFFF_0000


def _order(file: BinaryIO) -> Literal["big", "little"]:
    file.seek(0)
    return "big" if file.read(4) == b"RIFX" else "little"


class _Window:
    """Part of a file, with the methods that soundfile calls.

    Args:
        file: The whole file.
        place: Position of the part.
        size: Size of the part in bytes.
    """

    def __init__(self, file: BinaryIO, place: int, size: int) -> None:
        self._file = file
        self._place = place
        self._size = size
        file.seek(place)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        return self._file.seek(self._place + base + offset) - self._place

    def tell(self) -> int:
        return self._file.tell() - self._place

    def read(self, length: int) -> bytes:
        return self._file.read(max(0, min(length, self._size - self.tell())))
