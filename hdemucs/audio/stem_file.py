"""Where the samples of one stem go: a spool until the track's peak is known, then a file in its format."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdemucs.audio import decode
from hdemucs.audio.blocks import BLOCK_LENGTH, interleaved
from hdemucs.audio.codecs import Encoding
from hdemucs.audio.targets import temporary_beside, write_errors
from hdemucs.errors import AudioError, OutputError


class Spool:
    """Float32 samples in a temporary file beside `path`, to be read back once.

    Args:
        path: Final name of the stem's file.
        channels: Number of channels.
        cleanup: Stack that closes and removes the temporary file when it unwinds.

    Raises:
        OutputError: The temporary file cannot be written; all methods may raise it.
    """

    def __init__(self, path: Path, channels: int, cleanup: ExitStack) -> None:
        self._path = path
        self._channels = channels
        self._part = temporary_beside(path, cleanup)
        with write_errors(path):
            self._file = self._part.open("r+b")
        cleanup.callback(self._close)

    def write(self, samples: Tensor) -> None:
        """Append `[channels, n]`, float32."""
        with write_errors(self._path):
            self._file.write(interleaved(samples).data)

    def drain(self) -> Iterator[Tensor]:
        """Read everything, in blocks `[channels, n]`, and remove the file."""
        with write_errors(self._path):
            self._file.seek(0)
            while len(samples := np.fromfile(self._file, np.float32, BLOCK_LENGTH * self._channels)):
                yield torch.from_numpy(samples.reshape(-1, self._channels).T)
            self._close()
            self._part.unlink()

    def _close(self) -> None:
        # After a full disk has been reported, closing would report it again.
        with suppress(OSError):
            self._file.close()


class StemFile:
    """A temporary file beside `path`, in the final format.

    Args:
        path: Final name.
        encoding: Format and its options.
        length: Expected number of samples per channel, 0 if unknown.
        tags: Tags to write.
        cleanup: Stack that closes the file when it unwinds, and removes it unless it has its final name.

    Attributes:
        path: Final name.
        part: Temporary name.

    Raises:
        OutputError: The file cannot be written; all methods may raise it.
    """

    def __init__(
        self, path: Path, encoding: Encoding, length: int, tags: Mapping[str, str], cleanup: ExitStack
    ) -> None:
        self.path = path
        self.part = temporary_beside(path, cleanup)
        self._length = 0
        with write_errors(path):
            self._encoder = encoding.open_encoder(self.part, length, tags)
        cleanup.callback(self._close_quietly)

    def write(self, samples: Tensor) -> None:
        """Append `[channels, n]`, float32."""
        self._length += samples.shape[-1]
        with write_errors(self.path):
            self._encoder.write(samples)

    def finish(self) -> None:
        """Close the file, and read it back to check that it is whole."""
        with write_errors(self.path):
            self._encoder.close()
            _check_room(self.part)
        try:
            arrived = sum(block.shape[-1] for block in decode.open(self.part).blocks())
        except AudioError:
            arrived = 0
        if arrived < self._length:
            raise OutputError(
                f"cannot write {self.path}: only {arrived} of its {self._length} samples arrived; "
                "free some space, or choose another folder for the output"
            )

    def _close_quietly(self) -> None:
        with suppress(OSError):
            self._encoder.close()


def _check_room(path: Path) -> None:
    """Raise the OSError of a full disk, found by growing the file for a moment.

    libsndfile does not report what fails while it closes: on a full disk FLAC, MP3 and Vorbis lose their end
    silently, and half of an MP3's last frame is decoded like a complete one, to noise.
    """
    with path.open("ab") as file:
        end = file.tell()
        file.write(bytes(2**18))  # more than any encoder holds back until it closes
        file.truncate(end)
