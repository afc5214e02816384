"""What all codecs share: the interface of encoders, and what is said of broken files."""

from pathlib import Path
from typing import Protocol

from torch import Tensor

from hdemucs.errors import AudioError

WHOLE_COPY = "get a complete copy of the file, or export it again from an audio editor"


class Encoder(Protocol):
    """A file that is being written.

    Raises:
        OSError: Raised by both methods if the file cannot be written. Without an `errno`, its text is a
            complete message with a remedy.
    """

    def write(self, samples: Tensor) -> None:
        """Append `[channels, n]`, float32; integer formats round, and clip at full scale."""

    def close(self) -> None:
        """Finish the file; a second call does nothing."""


def damaged(name: str, second: float, reason: object) -> AudioError:
    """AudioError for a file in which something is missing or wrong from `second` on."""
    return AudioError(f"{name} is damaged at {second:.1f} s ({reason}); {WHOLE_COPY}")


def ends_early(name: str, second: float, stated: float | None = None) -> str:
    """Warning for a file that ends at `second`, though it states more seconds or has no proper end."""
    of = "without a proper end" if stated is None else f"of {stated:.1f} s"
    return f"{name} ends early, at {second:.1f} s {of}; {WHOLE_COPY}"


def check_stream(path: Path, stream: int, streams: int) -> None:
    """Check that a file with `streams` audio streams has number `stream`.

    Raises:
        AudioError: It does not.
    """
    if not 0 <= stream < streams:
        have = "1 audio stream, number 0" if streams == 1 else f"{streams} audio streams, 0 to {streams - 1}"
        raise AudioError(f"{path} has no audio stream {stream}; it has {have}")
