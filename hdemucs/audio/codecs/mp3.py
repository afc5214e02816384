"""MP3, written by libsndfile (LAME) with constant bitrate."""

from collections.abc import Mapping
from pathlib import Path

from hdemucs.audio.codecs import Encoding
from hdemucs.audio.codecs.base import Encoder
from hdemucs.audio.codecs.sndfile import SndfileEncoder

# MPEG-1, 2 and 2.5: lowest sample rate in Hz, and the bitrates in kbit/s at both ends of libsndfile's scale
# of compression levels.
_SCALES = ((32_000, 320, 32), (16_000, 160, 8), (0, 64, 8))


def open_encoder(path: Path, encoding: Encoding, length: int, tags: Mapping[str, str]) -> Encoder:
    """See `hdemucs.audio.codecs.Encoding.open_encoder`."""
    return SndfileEncoder(
        path,
        encoding,
        tags,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_compression_level(encoding.bitrate or 0, encoding.sample_rate),
        bitrate_mode="CONSTANT",
    )


def _compression_level(bitrate: int, sample_rate: int) -> float:
    """libsndfile's compression level for a constant bitrate in kbit/s.

    libsndfile goes linearly from the highest bitrate at level 0 to the lowest at level 1, and truncates.
    """
    top, bottom = next((top, bottom) for lowest, top, bottom in _SCALES if sample_rate >= lowest)
    return max(0.0, (top - bitrate - 0.5) / (top - bottom))
