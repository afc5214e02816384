"""Audio files, read block by block: by libsndfile where it reads them exactly, else by FFmpeg's libraries."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import av
import numpy as np
import soundfile
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from torch import Tensor

from hdemucs.audio.blocks import BLOCK_FRAMES
from hdemucs.audio.source import AudioSource, to_float
from hdemucs.errors import AudioError

# WAV (also big-endian, and above 4 GiB), AIFF, FLAC, Ogg, AU and CAF. MPEG audio is not here: libsndfile 1.2
# cuts MP3s of variable bitrate without a Xing header where its estimate of their length says (half-way, in
# one try), and prints notes of its decoder to stderr.
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b".snd", b"caff")
_TAGS = ("title", "artist", "album", "date", "genre", "track", "comment")
_WHOLE_COPY = "get a whole copy of the file, or save it anew from an audio editor"


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
    source = _open_sndfile(path) if head.startswith(_SNDFILE_MAGIC) else None
    source = source or _open_libav(path, stream)
    if not 0 <= stream < source.streams:
        raise _no_stream(path, stream, source.streams)
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


def _no_stream(path: Path, stream: int, streams: int) -> AudioError:
    have = "1 audio stream, number 0" if streams == 1 else f"{streams} audio streams, 0 to {streams - 1}"
    return AudioError(f"{path} has no audio stream {stream}; it has {have}")


def _damaged(name: str, second: float, reason: object) -> AudioError:
    return AudioError(f"{name} is damaged at {second:.1f} s ({reason}); {_WHOLE_COPY}")


# --- libsndfile


@dataclass(frozen=True, kw_only=True)
class _SndfileSource(AudioSource):
    path: Path

    def _decode(self) -> Iterator[Tensor]:
        done = 0
        try:
            with soundfile.SoundFile(os.fsencode(self.path)) as file:
                while len(samples := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                    done += len(samples)
                    yield torch.from_numpy(np.ascontiguousarray(samples.T))
        except soundfile.SoundFileError as error:
            raise _damaged(self.name, done / self.sample_rate, _one_line(error)) from None
        # These formats count their frames exactly, and libsndfile says nothing of a hole in an Ogg file.
        if self.frames and done < self.frames:
            missing = f"{(self.frames - done) / self.sample_rate:.1f} s are missing"
            raise _damaged(self.name, done / self.sample_rate, missing)


def _open_sndfile(path: Path) -> AudioSource | None:
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
                frames=file.frames,
                tags=_known_tags({"track": tags.pop("tracknumber", ""), **tags}),
                path=path.absolute(),
            )
    except (soundfile.SoundFileError, TypeError):  # TypeError: it wants to be told about any "*.raw"
        return None


def _known_tags(tags: dict[str, str]) -> dict[str, str]:
    lower = {key.lower(): value for key, value in tags.items()}
    return {key: lower[key] for key in _TAGS if lower.get(key)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


# --- FFmpeg's libraries


@dataclass(frozen=True, kw_only=True)
class _LibavSource(AudioSource):
    path: Path
    stream: int

    def _decode(self) -> Iterator[Tensor]:
        start = 0
        for sample_rate, samples in _libav_frames(self.path, self.name, self.stream):
            if (sample_rate, samples.shape[0]) != (self.sample_rate, self.channels):
                raise AudioError(
                    f"{self.name} changes at {start / self.sample_rate:.1f} s from {self.channels} channels "
                    f"at {self.sample_rate} Hz to {samples.shape[0]} at {sample_rate} Hz; "
                    "split it there, or save it anew from an audio editor"
                )
            start += samples.shape[1]
            yield to_float(samples)


def _open_libav(path: Path, stream: int) -> AudioSource:
    with _opened(path, str(path)) as container:
        streams = container.streams.audio
        if not streams:
            raise AudioError(f"{path} has no audio, only pictures, text or the like; name another file")
        if not 0 <= stream < len(streams):
            raise _no_stream(path, stream, len(streams))
        audio = streams[stream]
        if audio.codec_context is None:
            raise AudioError(f"{path} has a codec that FFmpeg does not know; convert it to WAV or FLAC")
        seconds = _seconds(container, audio)
        tags = _known_tags({**container.metadata, **audio.metadata})
        count = len(streams)
    # Headers are not always right (AAC with spectral band replication says half of the rate); frames are.
    first = next(_libav_frames(path, str(path), stream), None)
    if first is None:
        raise AudioError(f"{path} has no audio: not one frame of it can be decoded; {_WHOLE_COPY}")
    sample_rate, samples = first
    return _LibavSource(
        name=str(path),
        sample_rate=sample_rate,
        channels=samples.shape[0],
        frames=round(seconds * sample_rate) or None,
        streams=count,
        tags=tags,
        path=path.absolute(),
        stream=stream,
    )


@contextmanager
def _opened(path: Path, name: str) -> Iterator[InputContainer]:
    try:
        # An open file and no protocols: a playlist in disguise must not make FFmpeg fetch other things.
        options = {"protocol_whitelist": "none"}
        with path.open("rb") as file, av.open(file, options=options, metadata_errors="replace") as container:
            yield container
    except (FFmpegError, OSError) as error:
        reason = error.strerror or _one_line(error)
        raise AudioError(f"{name} is not audio, or is damaged ({reason}); {_WHOLE_COPY}") from None


def _seconds(container: InputContainer, audio: AudioStream) -> float:
    """How long the file claims to be, 0 if it does not say."""
    if audio.duration is not None and audio.time_base is not None:
        return float(audio.duration * audio.time_base)
    return (container.duration or 0) / av.time_base


def _libav_frames(path: Path, name: str, stream: int) -> Iterator[tuple[int, np.ndarray]]:
    """The sample rate and the samples `[channels, n]`, n >= 1, of each decoded frame.

    A packet that cannot be decoded is forgiven before the first good one and after the last (a file cut
    anywhere starts or ends with half a packet). In between, time would be lost: that is an AudioError.
    """
    seconds = 0.0
    broken: FFmpegError | None = None
    with _opened(path, name) as container:
        for packet in container.demux(container.streams.audio[stream]):
            try:
                frames = packet.decode()
            except FFmpegError as error:
                broken = error if seconds else None
                continue
            for frame in frames:
                if broken:
                    raise _damaged(name, seconds, broken.strerror)
                if frame.samples:
                    yield frame.sample_rate, _planar(frame)
                    seconds += frame.samples / frame.sample_rate


def _planar(frame: AudioFrame) -> np.ndarray:
    """Samples `[channels, n]`; packed formats come as `[1, n * channels]`."""
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(frame.samples, -1).T
