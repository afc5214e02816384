"""WAV, written by libsndfile; a RF64 above 4 GiB."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hdemucs.audio.codecs import Encoding, riff
from hdemucs.audio.codecs.base import Encoder
from hdemucs.audio.codecs.sndfile import SndfileEncoder

# The largest size that the 32-bit fields of a WAV can state, less room for its header and tags.
WAV_BYTES = 2**32 - 2**20


def open_encoder(path: Path, encoding: Encoding, length: int, tags: Mapping[str, str]) -> Encoder:
    """See `hdemucs.audio.codecs.Encoding.open_encoder`."""
    subtype = "FLOAT" if encoding.unbounded else f"PCM_{encoding.bits}"
    longest = WAV_BYTES // (encoding.channels * (encoding.integer_bits or 32) // 8)
    if length > longest:
        return SndfileEncoder(path, encoding, tags, format="RF64", subtype=subtype)
    return _WavEncoder(path, encoding, tags, longest, format="WAV", subtype=subtype)


class _WavEncoder(SndfileEncoder):
    """A plain WAV, which cannot hold more than `longest` samples per channel."""

    def __init__(
        self, path: Path, encoding: Encoding, tags: Mapping[str, str], longest: int, **options: Any
    ) -> None:
        super().__init__(path, encoding, tags, **options)
        self._path = path
        self._room = longest

    def write(self, samples: Tensor) -> None:
        self._room -= samples.shape[-1]
        if self._room < 0:
            raise OSError("a WAV cannot grow beyond 4 GiB; choose flac")
        super().write(samples)

    def close(self) -> None:
        super().close()
        # Equal stems are equal files: the chunk with the peaks, of floats only, has the time of writing.
        with self._path.open("r+b") as file:
            for chunk in riff.chunks(file):
                if chunk.name == b"PEAK":
                    file.seek(chunk.place + 4)
                    file.write(bytes(4))
