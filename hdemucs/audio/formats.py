"""The formats that stems are written in: what each can hold, and how libsndfile is asked for it."""

from dataclasses import dataclass

from hdemucs.errors import OptionError, OutputError

# Bits to libsndfile's name of the samples. "32f" is floating point, which has no full scale to clip at.
_SUBTYPES: dict[str, dict[str | None, str]] = {
    "wav": {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"},
    "flac": {"16": "PCM_16", "24": "PCM_24"},
    "mp3": {None: "MPEG_LAYER_III"},
    "ogg": {None: "VORBIS"},
}
_DEFAULT_BITS = {"wav": "16", "flac": "16"}
_MOST_CHANNELS = {"wav": 1024, "flac": 8, "mp3": 2, "ogg": 2}
# FLAC's limit is libsndfile's. Beyond 200 kHz, its Vorbis encoder crashes the process.
_RATE_RANGES = {"wav": (1, 2**31 - 1), "flac": (1, 655_350), "ogg": (8_000, 192_000)}
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# kbit/s, for rates from the first number on: MPEG-1, MPEG-2, MPEG-2.5. Lower ones exist, but their frames
# have no room for the note that tells players to skip the encoder's delay: stems would come 26 ms late.
_MP3_BITRATES = (
    (32_000, (64, 80, 96, 112, 128, 160, 192, 224, 256, 320)),
    (16_000, (64, 80, 96, 112, 128, 144, 160)),
    (0, (32, 40, 48, 56, 64)),
)
# The end points of libsndfile's scale, for the same rates.
_MP3_SCALES = ((32_000, 320, 32), (16_000, 160, 8), (0, 64, 8))
# Vorbis quality 8 of 10, about 256 kbit/s in stereo: stems are mixed again, which uncovers artefacts.
_VORBIS_COMPRESSION = 0.2
# What the 32-bit sizes of a WAV can say, less room for its header and tags.
WAV_BYTES = 2**32 - 2**20


@dataclass(frozen=True)
class Encoding:
    """One way to write audio.

    Attributes:
        format: "wav", "flac", "mp3" or "ogg".
        subtype: libsndfile's name of the sample format.
        bits: of an integer format, else None.
        compression: libsndfile's compression level, 0 to 1; None where it has none.
    """

    format: str
    subtype: str
    bits: int | None
    compression: float | None

    @property
    def unbounded(self) -> bool:
        """Whether samples beyond [-1, 1] survive, so that nothing needs to be scaled down."""
        return self.subtype == "FLOAT"

    def container(self, length: int, channels: int) -> str:
        """libsndfile's name of the container for `length` samples a channel: RF64 for a WAV above 4 GiB."""
        if self.format == "wav" and length * self.frame_bytes(channels) > WAV_BYTES:
            return "RF64"
        return self.format.upper()

    def frame_bytes(self, channels: int) -> int:
        """Size of one uncompressed frame."""
        return channels * (self.bits or 32) // 8


def choose_encoding(
    format: str, bits: str | None, bitrate: int | None, sample_rate: int, channels: int
) -> Encoding:
    """Check that the options go together, and that the format holds such audio.

    Raises:
        OptionError: no such format, or it has no such bits or bitrate.
        OutputError: the format does not hold this sample rate or number of channels.
    """
    if format not in _SUBTYPES:
        raise OptionError(f"there is no format {format!r}; choose one of {', '.join(_SUBTYPES)}")
    subtypes = _SUBTYPES[format]
    bits = bits or _DEFAULT_BITS.get(format)
    if bits not in subtypes:
        known = ", ".join(name for name in subtypes if name)
        remedy = f"choose one of {known}" if known else "leave bits out"
        raise OptionError(f"{format} does not have {bits!r} bits; {remedy}")
    if bitrate is not None and format != "mp3":
        raise OptionError(f"{format} takes no bitrate; leave it out, or choose mp3")
    _check_holds(format, sample_rate, channels)
    compression = None
    if format == "mp3":
        compression = _mp3_compression(bitrate, sample_rate)
    elif format == "ogg":
        compression = _VORBIS_COMPRESSION
    return Encoding(
        format=format,
        subtype=subtypes[bits],
        bits=int(bits) if bits in ("16", "24") else None,
        compression=compression,
    )


def _check_holds(format: str, sample_rate: int, channels: int) -> None:
    if format == "mp3":
        fits = sample_rate in _MP3_RATES
    else:
        lowest, highest = _RATE_RANGES[format]
        fits = lowest <= sample_rate <= highest
    remedy = "choose wav" if format == "flac" else "choose flac or wav"
    if not fits:
        raise OutputError(f"{format} cannot hold a sample rate of {sample_rate} Hz; {remedy}")
    if not 1 <= channels <= _MOST_CHANNELS[format]:
        raise OutputError(f"{format} cannot hold {channels} channels here; {remedy}")


def _mp3_compression(bitrate: int | None, sample_rate: int) -> float:
    """libsndfile's compression level for a constant bitrate in kbit/s; None for the highest there is.

    libsndfile goes linearly from the highest bitrate at level 0 to the lowest at level 1, and truncates.
    """
    allowed = next(bitrates for lowest, bitrates in _MP3_BITRATES if sample_rate >= lowest)
    if bitrate is not None and bitrate not in allowed:
        raise OptionError(
            f"mp3 at {sample_rate} Hz has no bitrate of {bitrate} kbit/s; choose one of "
            + ", ".join(map(str, allowed))
        )
    top, bottom = next((top, bottom) for lowest, top, bottom in _MP3_SCALES if sample_rate >= lowest)
    wanted = allowed[-1] if bitrate is None else bitrate
    return max(0.0, (top - wanted - 0.5) / (top - bottom))
