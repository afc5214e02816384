"""The chunks of a RIFF file, such as a WAV: what libsndfile does not tell, or writes otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

# More than any program writes before the samples: a file of zeros is not gone through to its end.
_MOST_CHUNKS = 1000


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
    file.seek(0)
    order: Literal["big", "little"] = "big" if file.read(4) == b"RIFX" else "little"
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
