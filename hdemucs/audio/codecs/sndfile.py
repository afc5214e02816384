"""Files that libsndfile reads: WAV (also big-endian, and above 4 GiB), AIFF, FLAC, Ogg, AU and CAF."""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from hdemucs.audio.blocks import BLOCK_LENGTH, drop
from hdemucs.audio.faults import damaged
from hdemucs.audio.source import AudioSource, known_tags
from hdemucs.errors import one_line

# What these files start with. MPEG audio is not here: libsndfile 1.2 cuts MP3s of variable bitrate without a
# Xing header where its estimate of their length says (half-way, in one try), and prints notes of its decoder
# to stderr.
MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b".snd", b"caff")

# Sample formats (FLAC's are PCM) in which libsndfile lands on the very frame that is asked for, with nothing
# left over from what is before it. Opus, for one, is off by 1e-7 after a seek.
_SEEKABLE = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "ALAC_", "IMA_ADPCM", "MS_ADPCM")
# In the last page of a Vorbis stream libsndfile 1.2 lands too late, by what the encoder padded the page with.
# No page is longer: 255 packets of at most 4096 new frames.
_LONGEST_VORBIS_PAGE = 255 * 4096


@dataclass(frozen=True, kw_only=True)
class _SndfileSource(AudioSource):
    path: Path
    length: int
    subtype: str

    def _decode(self, start: int = 0) -> Generator[Tensor, None, None]:
        place = self._landing(start)
        return drop(self._blocks_from(place), start - place)

    def _landing(self, start: int) -> int:
        """The last frame up to `start` from which reading is exact."""
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
        # These formats count their frames exactly, and libsndfile says nothing of a hole in an Ogg file.
        if done < self.length:
            missing = f"{(self.length - done) / self.sample_rate:.1f} s are missing"
            raise damaged(self.name, done / self.sample_rate, missing)


def open_file(path: Path) -> AudioSource | None:
    """A source, or None if libsndfile does not know the format, or does not read it right."""
    try:
        # Absolute, because libsndfile takes a file named "-" for the standard input.
        with soundfile.SoundFile(os.fsencode(path.absolute())) as file:
            tags = file.copy_metadata()
            # libsndfile leaves Ogg's own channel order (left, centre, right) as it is, and cannot read a FLAC
            # that was made by streaming and has no count of frames: it claims the largest number.
            if (
                file.subtype.startswith("MPEG")
                or (file.format == "OGG" and file.channels > 2)
                or file.frames > 2**62
            ):
                return None
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
