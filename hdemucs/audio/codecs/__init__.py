"""Audio formats: one row each in `CODECS`, from which choices, suffixes and messages are derived.

A row names the module that reads its format (`sndfile.py` or `libav.py`). A format that can be written also
has a module of its own, named like the row, with one function:

    open_encoder(path, encoding, length, tags) -> Encoder

To add a format, add its row and, if it can be written, its module; the contract tests find both here.
Importing this module loads neither torch nor any audio library.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from hdemucs.audio.rates import RATES
from hdemucs.errors import OptionError, OutputError

if TYPE_CHECKING:
    from hdemucs.audio.codecs.base import Encoder
    from hdemucs.audio.source import AudioSource


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A format of audio files.

    Attributes:
        name: Name in `format` options; also the extension of written files.
        description: Description of one line, for the documentation.
        suffixes: File suffixes, with dot, that are taken for audio in a folder.
        lossy: Whether decoding usually gives samples that differ from those that were encoded.
        reader: Module of this package whose `open_file` reads the format.
        magic: Bytes that files start with; only needed if the reader is not `libav`, which recognises formats
            itself.
        rates: Sample rates that can be written, in Hz; empty for formats that are only read.
        most_channels: Largest number of channels that can be written.
        bits: Choices of bits per sample when writing, default first; a trailing "f" means floating point,
            which has no full scale to clip at.
        bitrates: Choices of constant bitrate when writing, as pairs of the lowest sample rate in Hz for which
            they are valid and bitrates in kbit/s, highest rate first; the last bitrate is the default.
        needs_length: Whether the header depends on a length that must be known before writing starts.
    """

    name: str
    description: str
    suffixes: tuple[str, ...]
    lossy: bool = False
    reader: Literal["sndfile", "libav"] = "libav"
    magic: tuple[bytes, ...] = ()
    rates: range | tuple[int, ...] = ()
    most_channels: int = 0
    bits: tuple[str, ...] = ()
    bitrates: tuple[tuple[int, tuple[int, ...]], ...] = ()
    needs_length: bool = False

    def holds(self, sample_rate: int, channels: int) -> bool:
        """Whether audio of this sample rate (Hz) and number of channels can be written."""
        return sample_rate in self.rates and 1 <= channels <= self.most_channels

    def open_file(self, path: Path, stream: int) -> "AudioSource | None":
        """Open one audio stream of a file, or return None for a file that FFmpeg must read instead.

        Raises:
            AudioError: The file cannot be read, or has no such stream.
        """
        source: AudioSource | None = _module(self.reader).open_file(path, stream)
        return source


CODECS = (
    Codec(
        name="wav",
        description="Uncompressed, integer or float; RF64 above 4 GiB",
        suffixes=(".wav", ".wave"),
        reader="sndfile",
        magic=(b"RIFF", b"RIFX", b"RF64"),
        rates=RATES,
        most_channels=1024,
        bits=("16", "24", "32f"),
        needs_length=True,
    ),
    Codec(
        name="flac",
        description="Lossless compression",
        suffixes=(".flac",),
        reader="sndfile",
        magic=(b"fLaC",),
        # The upper limits are libsndfile's.
        rates=range(RATES.start, 655_351),
        most_channels=8,
        bits=("16", "24"),
    ),
    Codec(
        name="mp3",
        description="MPEG-1, 2 and 2.5 layer III; written with constant bitrate",
        suffixes=(".mp3",),
        lossy=True,
        # libsndfile 1.2 cuts MP3s of variable bitrate without a Xing header where its estimate of their
        # length says (half-way, in one try), and prints notes of its decoder to stderr.
        reader="libav",
        rates=(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        most_channels=2,
        # MPEG-1, 2 and 2.5. Lower bitrates exist, but their frames have no room for the note that tells
        # players to skip the encoder's delay: stems would come 26 ms late.
        bitrates=(
            (32_000, (64, 80, 96, 112, 128, 160, 192, 224, 256, 320)),
            (16_000, (64, 80, 96, 112, 128, 144, 160)),
            (0, (32, 40, 48, 56, 64)),
        ),
    ),
    Codec(
        name="ogg",
        description="Ogg; written as Vorbis at about 256 kbit/s",
        suffixes=(".ogg", ".oga"),
        lossy=True,
        reader="sndfile",
        magic=(b"OggS",),
        # Above 200 kHz, libsndfile's Vorbis encoder crashes the process.
        rates=range(8_000, 192_001),
        most_channels=2,
    ),
    Codec(
        name="opus",
        description="Opus in Ogg",
        suffixes=(".opus",),
        lossy=True,
        reader="sndfile",
        magic=(b"OggS",),
    ),
    Codec(
        name="aiff",
        description="Uncompressed, Apple",
        suffixes=(".aif", ".aifc", ".aiff"),
        reader="sndfile",
        magic=(b"FORM",),
    ),
    Codec(name="au", description="Uncompressed, Sun", suffixes=(".au",), reader="sndfile", magic=(b".snd",)),
    Codec(
        name="caf",
        description="Core Audio Format: uncompressed or Apple Lossless",
        suffixes=(".caf",),
        reader="sndfile",
        magic=(b"caff",),
    ),
    Codec(name="alac", description="Apple Lossless in MPEG-4", suffixes=(".alac",)),
    Codec(
        name="mp4",
        description="AAC or Apple Lossless in MPEG-4, and the streams of a .stem.mp4",
        suffixes=(".m4a", ".mp4"),
        lossy=True,
    ),
    Codec(name="aac", description="AAC without a container (ADTS)", suffixes=(".aac",), lossy=True),
    Codec(name="mp2", description="MPEG-1 and 2 layer II", suffixes=(".mp2",), lossy=True),
    Codec(name="wma", description="Windows Media Audio", suffixes=(".wma",), lossy=True),
    Codec(name="webm", description="Opus or Vorbis in WebM", suffixes=(".webm",), lossy=True),
    Codec(name="mkv", description="Matroska: any codec", suffixes=(".mka", ".mkv")),
    Codec(name="mov", description="QuickTime and iTunes video: any codec", suffixes=(".m4v", ".mov")),
)

WRITABLE = {codec.name: codec for codec in CODECS if codec.rates}
"""Formats that stems can be written in, by name; the first is the default."""

BITS = tuple(dict.fromkeys(bits for codec in WRITABLE.values() for bits in codec.bits))
"""Choices of bits per sample that at least one format has."""

SUFFIXES = frozenset(suffix for codec in CODECS for suffix in codec.suffixes)
"""Suffixes, with dot, of files in a folder that are taken for audio."""

LOSSY_SUFFIXES = frozenset(suffix for codec in CODECS if codec.lossy for suffix in codec.suffixes)
"""Those of `SUFFIXES` that belong to lossy formats."""


def markdown_table() -> str:
    """Markdown table of all formats, which docs/separate.md holds."""
    rows = ["| format | suffixes | what it is | written with `--bits` |", "|---|---|---|---|"]
    for codec in CODECS:
        suffixes = " ".join(f"`{suffix}`" for suffix in codec.suffixes)
        written = ", ".join(f"`{bits}`" for bits in codec.bits)
        written = written or ("no choice" if codec.name in WRITABLE else "not written")
        cells = (codec.name, suffixes, codec.description, written)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def find_by_content(head: bytes) -> Codec | None:
    """Format of a file that starts with `head` (at least 4 bytes); None if FFmpeg has to recognise it."""
    return next((codec for codec in CODECS if codec.magic and head.startswith(codec.magic)), None)


@dataclass(frozen=True)
class Encoding:
    """A format with its options, checked by `choose_encoding`.

    Attributes:
        codec: The format.
        sample_rate: In Hz.
        channels: Number of channels.
        bits: Bits per sample, one of `codec.bits`; None for formats without that choice.
        bitrate: Constant bitrate in kbit/s; None for formats without that choice.
    """

    codec: Codec
    sample_rate: int
    channels: int
    bits: str | None
    bitrate: int | None

    @property
    def integer_bits(self) -> int | None:
        """Bits of an integer sample; None for floats and lossy formats."""
        return int(self.bits) if self.bits and not self.unbounded else None

    @property
    def unbounded(self) -> bool:
        """Whether samples beyond [-1, 1] survive, so that nothing needs to be turned down."""
        return self.bits is not None and self.bits.endswith("f")

    def open_encoder(self, path: Path, length: int, tags: Mapping[str, str]) -> "Encoder":
        """Start writing a file.

        Args:
            path: File to write, whatever its suffix; replaced if it exists.
            length: Expected number of samples per channel, 0 if unknown; only used by formats with
                `codec.needs_length`.
            tags: Any of the tags of `AudioSource.tags`; those that the format does not support are left out.

        Raises:
            OSError: The file cannot be written.
        """
        encoder: Encoder = _module(self.codec.name).open_encoder(path, self, length, tags)
        return encoder


def choose_encoding(
    format: str, bits: str | None, bitrate: int | None, sample_rate: int, channels: int
) -> Encoding:
    """Check that options agree and that the format holds such audio; None chooses the format's default.

    Raises:
        OptionError: No such format can be written, or it does not have these bits or this bitrate.
        OutputError: The format cannot hold this sample rate (Hz) or number of channels.
    """
    codec = WRITABLE.get(format)
    if codec is None:
        raise OptionError(f"format {format!r} cannot be written; choose one of {', '.join(WRITABLE)}")
    if bits is not None and bits not in codec.bits:
        remedy = f"choose one of {', '.join(codec.bits)}" if codec.bits else "leave bits out"
        raise OptionError(f"{format} cannot have bits={bits!r}; {remedy}")
    if bitrate is not None and not codec.bitrates:
        others = " or ".join(other.name for other in WRITABLE.values() if other.bitrates)
        raise OptionError(f"{format} has no choice of bitrate; leave bitrate out, or choose {others}")
    _check_holds(codec, sample_rate, channels)
    if codec.bitrates:
        bitrate = _choose_bitrate(codec, bitrate, sample_rate)
    return Encoding(codec, sample_rate, channels, bits or next(iter(codec.bits), None), bitrate)


def _check_holds(codec: Codec, sample_rate: int, channels: int) -> None:
    if codec.holds(sample_rate, channels):
        return
    others = [other.name for other in WRITABLE.values() if other.holds(sample_rate, channels)]
    remedy = f"choose {' or '.join(others)}" if others else "resample or remix it first"
    what = f"{channels} channels" if sample_rate in codec.rates else f"a sample rate of {sample_rate} Hz"
    raise OutputError(f"{codec.name} cannot hold {what}; {remedy}")


def _choose_bitrate(codec: Codec, bitrate: int | None, sample_rate: int) -> int:
    choices = next(bitrates for lowest, bitrates in codec.bitrates if sample_rate >= lowest)
    if bitrate is not None and bitrate not in choices:
        raise OptionError(
            f"{codec.name} at {sample_rate} Hz has no bitrate of {bitrate} kbit/s; choose one of "
            + ", ".join(map(str, choices))
        )
    return bitrate or choices[-1]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
