"""Audio files, read block by block: by libsndfile where it reads them exactly, else by FFmpeg's libraries."""

import stat
from os import PathLike
from pathlib import Path

from hdemucs.audio.codecs import sndfile
from hdemucs.audio.faults import no_stream
from hdemucs.audio.source import AudioSource
from hdemucs.errors import AudioError


def open(path: str | PathLike[str], *, stream: int = 0) -> AudioSource:
    """Open an audio file; a video's audio and the streams of a `.stem.mp4` count as well.

    Args:
        path: the file. Its content tells the format, not its name.
        stream: which of its audio streams, from 0 to `streams - 1`.

    Raises:
        AudioError: the file is missing, forbidden, empty, damaged, of unknown format or without audio, or it
            has no such stream. Damage further on shows while reading.
    """
    path = Path(path)
    head = _first_bytes(path)
    source = sndfile.open_file(path) if head.startswith(sndfile.MAGIC) else None
    if source is None:
        # Loading FFmpeg's libraries takes 35 ms; who reads only WAV and FLAC need not wait for them.
        from hdemucs.audio.codecs import libav

        source = libav.open_file(path, stream)
    if not 0 <= stream < source.streams:
        raise no_stream(path, stream, source.streams)
    return source


def _first_bytes(path: Path) -> bytes:
    """What the file starts with, after making sure that it is a file and can be read."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{path} is a folder; name an audio file in it")
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
