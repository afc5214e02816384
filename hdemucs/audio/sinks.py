"""Where the samples of one stem go: to a spool until the track's peak is known, and to an encoder."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from hdemucs.audio import decode
from hdemucs.audio.blocks import BLOCK_LENGTH
from hdemucs.audio.formats import WAV_BYTES, Encoding
from hdemucs.audio.refusals import refusals, temporary_beside
from hdemucs.errors import AudioError, OutputError

_SNDFILE_TAGS = ("title", "artist", "album", "date", "genre", "tracknumber", "comment")


class Spool:
    """Float32 samples in a temporary file beside `path`, to be read back once.

    `cleanup` closes and removes the file.

    Raises:
        OutputError: on any method, the folder or the disk refuses.
    """

    def __init__(self, path: Path, channels: int, cleanup: ExitStack) -> None:
        self._path = path
        self._channels = channels
        self._part = temporary_beside(path, cleanup)
        with refusals(path):
            self._file = self._part.open("r+b")
        cleanup.callback(self._close)

    def write(self, samples: Tensor) -> None:
        """Append `[channels, n]`, float32."""
        with refusals(self._path):
            self._file.write(_interleaved(samples).data)

    def drain(self) -> Iterator[Tensor]:
        """Read everything, in blocks `[channels, n]`, and remove the file."""
        with refusals(self._path):
            self._file.seek(0)
            while len(samples := np.fromfile(self._file, np.float32, BLOCK_LENGTH * self._channels)):
                yield torch.from_numpy(samples.reshape(-1, self._channels).T)
            self._close()
            self._part.unlink()

    def _close(self) -> None:
        # After a full disk has been reported, closing would report it again.
        with suppress(OSError):
            self._file.close()


class Encoder:
    """A temporary file beside `path`, in the final format.

    `cleanup` closes it, and removes it unless it has got its final name.

    Args:
        length: how long the file is going to be at most, to choose between WAV and RF64.

    Attributes:
        part: the temporary file.
        path: its final name.

    Raises:
        OutputError: on any method, the folder or the disk refuses.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        sample_rate: int,
        channels: int,
        length: int,
        tags: Mapping[str, str],
        cleanup: ExitStack,
    ) -> None:
        self.part = temporary_beside(path, cleanup)
        self.path = path
        self._encoding = encoding
        self._length = 0
        container = encoding.container(length, channels)
        self._most_samples = WAV_BYTES // encoding.frame_bytes(channels) if container == "WAV" else None
        with refusals(path):
            self._file = soundfile.SoundFile(
                os.fsencode(self.part),
                "w",
                sample_rate,
                channels,
                subtype=encoding.subtype,
                format=container,
                compression_level=encoding.compression,
                bitrate_mode="CONSTANT" if encoding.format == "mp3" else None,
            )
        cleanup.callback(self._close_quietly)
        self._write_tags(tags)

    def write(self, samples: Tensor) -> None:
        """Append `[channels, n]`, float32; integer formats round, and cut what is beyond full scale."""
        self._length += samples.shape[-1]
        if self._most_samples is not None and self._length > self._most_samples:
            raise OutputError(f"cannot write {self.path}: a WAV cannot grow beyond 4 GiB; choose flac")
        with refusals(self.path):
            # libsndfile's Vorbis encoder overflows the stack on long writes.
            for block in samples.split(BLOCK_LENGTH, dim=-1):
                self._file.write(_interleaved(_quantize(block, self._encoding.bits)))

    def finish(self) -> None:
        """Close the file, and read it back to see that it is whole."""
        with refusals(self.path):
            self._file.close()
            _check_room(self.part)
        try:
            whole = sum(block.shape[-1] for block in decode.open(self.part).blocks())
        except AudioError:
            whole = 0
        if whole < self._length:
            raise OutputError(
                f"cannot write {self.path}: only {whole} of its {self._length} samples arrived; "
                "free some space, or choose another folder for the output"
            )

    def _write_tags(self, tags: Mapping[str, str]) -> None:
        for tag in _SNDFILE_TAGS:
            value = tags.get(tag.removesuffix("number"))
            # A format that has no such tag is no reason to refuse the audio.
            if value:
                with suppress(soundfile.SoundFileError):
                    setattr(self._file, tag, value)

    def _close_quietly(self) -> None:
        with suppress(soundfile.SoundFileError):
            self._file.close()


def _check_room(path: Path) -> None:
    """Raise the OSError of a full disk, found by growing the file for a moment.

    libsndfile does not report what fails while it closes: on a full disk FLAC, MP3 and Vorbis lose their end
    in silence, and half of an MP3's last frame is decoded like a whole one, to noise.
    """
    with path.open("ab") as file:
        end = file.tell()
        file.write(bytes(2**18))  # more than any encoder holds back until it closes
        file.truncate(end)


def _interleaved(samples: Tensor) -> np.ndarray:
    return np.ascontiguousarray(samples.T.numpy())


def _quantize(samples: Tensor, bits: int | None) -> Tensor:
    """Round to the nearest step of `bits` bits, as the top of int32; float formats stay as they are.

    libsndfile's own conversion truncates, and multiplies by one step less than its reader divides by.
    """
    if bits is None:
        return samples
    full_scale = 1 << (bits - 1)
    steps = (samples * full_scale).round().clamp(-full_scale, full_scale - 1)
    return steps.to(torch.int32) * (1 << (32 - bits))
