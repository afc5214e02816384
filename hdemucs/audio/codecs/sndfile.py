"""libsndfile, through soundfile: reads WAV, AIFF, FLAC, Ogg, AU and CAF; writes WAV, FLAC, MP3 and Ogg."""

import os
import re
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
from hdemucs.audio.codecs import Encoding, pages, riff
from hdemucs.audio.codecs.base import check_stream, damaged, ends_early
from hdemucs.audio.source import AudioSource, known_tags
from hdemucs.errors import one_line

# Sample formats (FLAC's are PCM) in which libsndfile seeks to exactly the sample that is asked for, with
# nothing left over from those before it. Opus, for one, is off by 1e-7 after seeking.
_SEEKABLE = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "ALAC_", "IMA_ADPCM", "MS_ADPCM")
# In the last page of a Vorbis stream libsndfile 1.2 lands too late, by what the encoder padded the page with.
# No page is longer: 255 packets of at most 4096 new samples.
_LONGEST_VORBIS_PAGE = 255 * 4096
# Samples to read at once near damage: a FLAC has 4096 in each of its frames, rarely less.
_SMALL_BLOCK = 256
# What libsndfile notes of a WAV, AIFF or AU that is shorter than its header says, and reads to its end.
_CORRECTED_SIZE = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Bytes of a sample.
_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
_TAGS = ("title", "artist", "album", "date", "genre", "tracknumber", "comment")


@dataclass(frozen=True, kw_only=True)
class _SndfileSource(AudioSource):
    path: Path
    length: int
    subtype: str
    data: riff.Data | None = None  # where the samples are, for a WAV that states it wrongly

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
            for block in self._read(place, BLOCK_LENGTH):
                done += block.shape[-1]
                yield block
        except soundfile.SoundFileError as error:
            # In the block that failed there are good samples as well.
            with suppress(soundfile.SoundFileError):
                for block in self._read(done, _SMALL_BLOCK):
                    done += block.shape[-1]
                    yield block
            second = done / self.sample_rate
            if done == 0 or self._goes_on():
                raise damaged(self.name, second, one_line(error)) from None
            self._warn(ends_early(self.name, second, self.length / self.sample_rate))
            return
        # These formats know their exact length, and libsndfile does not report a hole in an Ogg file.
        if done < self.length:
            missing = f"{(self.length - done) / self.sample_rate:.1f} s are missing"
            raise damaged(self.name, done / self.sample_rate, missing)

    def _read(self, place: int, length: int) -> Iterator[Tensor]:
        with self._opened() as file:
            if place:
                file.seek(place)
            while len(samples := file.read(length, dtype="float32", always_2d=True)):
                yield torch.from_numpy(np.ascontiguousarray(samples.T))

    @contextmanager
    def _opened(self) -> Iterator[soundfile.SoundFile]:
        if self.data is None:
            with soundfile.SoundFile(os.fsencode(self.path)) as file:
                yield file
            return
        with (
            self.data.open(self.path) as window,
            soundfile.SoundFile(
                window,
                format="RAW",
                samplerate=self.sample_rate,
                channels=self.channels,
                subtype=self.subtype,
                endian=self.data.order,
            ) as file,
        ):
            yield file

    def _goes_on(self) -> bool:
        """Whether the last sample can be read: then what cannot be read is a hole, and not the end."""
        with suppress(soundfile.SoundFileError):
            return any(block.numel() for block in self._read(self.length - 1, 1))
        return False


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
            data, length = None, file.frames
            # WAV and WAVEX, not RF64; RAW can be told of all sample formats that have a size.
            if file.format.startswith("WAV") and file.subtype in _BYTES and (data := riff.misstated(path)):
                length = data.size // (_BYTES[file.subtype] * file.channels)
            return _SndfileSource(
                name=str(path),
                sample_rate=file.samplerate,
                channels=file.channels,
                length=length,
                tags=known_tags({"track": tags.pop("tracknumber", ""), **tags}),
                warnings=_warnings(path, file) if data is None else [],
                path=path.absolute(),
                subtype=file.subtype,
                data=data,
            )
    except (soundfile.SoundFileError, TypeError):  # TypeError: it wants to be told about any "*.raw"
        return None


def _warnings(path: Path, file: soundfile.SoundFile) -> list[str]:
    """Warning for a file that is shorter than its header says, or has no proper end."""
    # A rate of 0 is refused later.
    second = file.frames / max(1, file.samplerate)
    if file.format == "OGG":
        return [ends_early(str(path), second)] if pages.lacks_end(path) else []
    if not (sizes := _CORRECTED_SIZE.search(file.extra_info)):
        return []
    stated, there = map(int, sizes.groups())
    if stated - there < 2 or riff.unknown(stated):
        return []
    return [ends_early(str(path), second, second * stated / max(1, there))]


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
