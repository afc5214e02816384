"""What is said of audio files that cannot be read."""

from pathlib import Path

from hdemucs.errors import AudioError

WHOLE_COPY = "get a whole copy of the file, or save it anew from an audio editor"


def damaged(name: str, second: float, reason: object) -> AudioError:
    """The error of a file of which something is missing or wrong from `second` on."""
    return AudioError(f"{name} is damaged at {second:.1f} s ({reason}); {WHOLE_COPY}")


def no_stream(path: Path, stream: int, streams: int) -> AudioError:
    """The error of a file that has only `streams` audio streams."""
    have = "1 audio stream, number 0" if streams == 1 else f"{streams} audio streams, 0 to {streams - 1}"
    return AudioError(f"{path} has no audio stream {stream}; it has {have}")
