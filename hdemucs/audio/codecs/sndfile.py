"""libsndfile, through soundfile: reads WAV, AIFF, FLAC, Ogg, AU and CAF; writes WAV, FLAC, MP3 and Ogg."""

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from hdemucs.audio.blocks import BLOCK_LENGTH, drop, interleaved
from hdemucs.audio.codecs import Encoding
from hdemucs.audio.codecs.base import check_stream, damaged
from hdemucs.audio.source import AudioSource, known_tags
from hdemucs.errors import one_line

# Sample formats (FLAC's are PCM) in which libsndfile seeks to exactly the sample that is asked for, with
# nothing left over from those before it. Opus, for one, is off by 1e-7 after seeking.
_SEEKABLE = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "ALAC_", "IMA_ADPCM", "MS_ADPCM")
# In the last page of a Vorbis stream libsndfile 1.2 lands too late, by what the encoder padded the page with.
# No page is longer: 255 packets of at most 4096 new samples.
_LONGEST_VORBIS_PAGE = 255 * 4096
_TAGS = ("title", "artist", "album", "date", "genre", "tracknumber", "comment")


@dataclass(frozen=True, kw_only=True)
class _SndfileSource(AudioSource):
    path: Path
    length: int
    subtype: str

    def _decode(self, start: int = 0) -> Generator[Tensor, None, None]:
        place = self._exact_place(start)
        return drop(self._blocks_from(place), start - place)

    def _exact_place(self, start: int) -> int:
        """The last sample up to `start` from which reading is exact."""
        if self.subtype.startswith(_SEEKABLE):
            return min(start, self.length)
        if self.subtype == "VORBIS":
            return max(0, min(start, self.length - _LONGEST_VORBIS_PAGE))
        return 0

    def _blocks_from(self, place: int) -> Iterator[Tensor]:
        done = place
        try:
            with soundfile.SoundFile(os.fsencode(self.path)) as file:
                if place:
                    file.seek(place)
                while len(samples := file.read(BLOCK_LENGTH, dtype="float32", always_2d=True)):
                    done += len(samples)
                    yield torch.from_numpy(np.ascontiguousarray(samples.T))
        except soundfile.SoundFileError as error:
            raise damaged(self.name, done / self.sample_rate, one_line(error)) from None
        # These formats know their exact length, and libsndfile does not report a hole in an Ogg file.
        if done < self.length:
            missing = f"{(self.length - done) / self.sample_rate:.1f} s are missing"
            raise damaged(self.name, done / self.sample_rate, missing)


def open_file(path: Path, stream: int) -> AudioSource | None:
    """See `hdemucs.audio.codecs.Codec.open_file`; None for what libsndfile cannot read correctly."""
    try:
        # Absolute, because libsndfile takes a file named "-" for the standard input.
        with soundfile.SoundFile(os.fsencode(path.absolute())) as file:
            tags = file.copy_metadata()
            # libsndfile leaves Ogg's own channel order (left, centre, right) as it is, and cannot read a FLAC
            # that was made by streaming and does not know its length: it claims the largest number.
            if (
                file.subtype.startswith("MPEG")
                or (file.format == "OGG" and file.channels > 2)
                or file.frames > 2**62
            ):
                return None
            check_stream(path, stream, 1)
            return _SndfileSource(
                name=str(path),
                sample_rate=file.samplerate,
                channels=file.channels,
                length=file.frames,
                tags=known_tags({"track": tags.pop("tracknumber", ""), **tags}),
                path=path.absolute(),
                subtype=file.subtype,
            )
    except (soundfile.SoundFileError, TypeError):  # TypeError: it wants to be told about any "*.raw"
        return None


class SndfileEncoder:
    """A file that libsndfile writes.

    Args:
        path: File to write.
        encoding: Its sample rate, channels and bits.
        tags: Any of the tags of `AudioSource.tags`.
        options: Further arguments of `soundfile.SoundFile`, such as the format.
    """

    def __init__(self, path: Path, encoding: Encoding, tags: Mapping[str, str], **options: Any) -> None:
        self._bits = encoding.integer_bits
        with _os_error():
            self._file = soundfile.SoundFile(
                os.fsencode(path), "w", encoding.sample_rate, encoding.channels, **options
            )
        for tag in _TAGS:
            if value := tags.get(tag.removesuffix("number")):
                # A format that has no such tag is no reason to refuse the audio.
                with suppress(soundfile.SoundFileError):
                    setattr(self._file, tag, value)

    def write(self, samples: Tensor) -> None:
        with _os_error():
            # libsndfile's Vorbis encoder overflows the stack on long writes.
            for block in samples.split(BLOCK_LENGTH, dim=-1):
                self._file.write(interleaved(_quantize(block, self._bits)))

    def close(self) -> None:
        with _os_error():
            self._file.close()


@contextmanager
def _os_error() -> Iterator[None]:
    try:
        yield
    except soundfile.SoundFileError:
        # libsndfile keeps the system's reason to itself; for a file that could be opened, it is this one.
        raise OSError(
            "the disk seems full; free some space, or choose another folder for the output"
        ) from None


def _quantize(samples: Tensor, bits: int | None) -> Tensor:
    """Round to the nearest step of `bits` bits, as the top of int32; float formats stay as they are.

    libsndfile's own conversion truncates, and multiplies by one step less than its reader divides by.
    """
    if bits is None:
        return samples
    full_scale = 1 << (bits - 1)
    steps = (samples * full_scale).round().clamp(-full_scale, full_scale - 1)
    return steps.to(torch.int32) * (1 << (32 - bits))
