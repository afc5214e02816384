"""Reading audio files, block by block."""

import stat
from os import PathLike
from pathlib import Path

from hdemucs.audio.codecs import find_by_content
from hdemucs.audio.source import AudioSource
from hdemucs.errors import AudioError


def open(path: str | PathLike[str], *, stream: int = 0) -> AudioSource:
    """Open an audio file, the audio of a video, or one of the streams of a `.stem.mp4`.

    Args:
        path: File to read. Its content tells the format, not its name.
        stream: Number of the audio stream to read, from 0 to `streams - 1`.

    Raises:
        AudioError: The file is missing, unreadable, empty, damaged, of unknown format or without audio, or it
            has no such stream. Damage further on shows while reading.
    """
    path = Path(path)
    codec = find_by_content(_first_bytes(path))
    source = codec.open_file(path, stream) if codec else None
    if source is None:
        # Loading FFmpeg's libraries takes 35 ms, which WAV and FLAC need not wait for.
        from hdemucs.audio.codecs import libav

        source = libav.open_file(path, stream)
    return source


def _first_bytes(path: Path) -> bytes:
    """Start of a file, after checking that it is one and can be read."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{path} is a folder; choose an audio file in it")
        if not stat.S_ISREG(mode):
            raise AudioError(f"{path} is not a regular file; save the audio to a file first")
        with path.open("rb") as file:
            head = file.read(4)
    except FileNotFoundError:
        raise AudioError(f"{path} does not exist; check the name and the folder") from None
    except PermissionError:
        raise AudioError(f"{path} may not be read; ask for permission, or make it readable") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{path} cannot be read: {reason}; check the path and the disk") from None
    if not head:
        raise AudioError(f"{path} is empty; download or export it again")
    return head
