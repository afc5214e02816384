"""FFmpeg's libraries, through PyAV: read MP3, m4a, mp4, webm, `.stem.mp4` and everything else."""

import io
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from torch import Tensor

from hdemucs.audio.blocks import drop
from hdemucs.audio.codecs import pages
from hdemucs.audio.codecs.base import WHOLE_COPY, check_stream, damaged, ends_early
from hdemucs.audio.source import AudioSource, known_tags, to_float
from hdemucs.errors import AudioError, one_line

# Samples to decode ahead of the wanted ones. Codec frames of AAC and MP3 overlap with the one before; those
# of MP3 also borrow up to 511 bytes from those before (255 below 32 kHz), which is 85 frames of 576 samples
# at 8 kbit/s.
_PREROLL = 65536
# Codecs that decode to the same samples after such a pre-roll. Not Opus, whose state fades out slowly.
_EXACT_CODECS = ("alac", "flac", "mp3", "pcm_")

_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_LONGEST_FRAME = 1441 + 1  # bytes of an MP3's frame, at 320 kbit/s and 32 kHz, with padding
# PyAV 19 and newer keep undecodable bytes of tags so without being told, and no longer take the argument.
_KEEP_BYTES: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}
)
# Seconds by which a header may count an encoder's delay and padding as music.
_LEEWAY = 0.5


@dataclass(frozen=True)
class _Clock:
    """Timestamps that count samples.

    Attributes:
        origin: Timestamp of sample 0.
        ticks: Ticks of the stream's time base per sample.
        seeks: Whether the container knows where each packet is. Where it does not, going over the packets
            without decoding them takes a seventh of the time of decoding them.
    """

    origin: int
    ticks: int
    seeks: bool


@dataclass(frozen=True, kw_only=True)
class _LibavSource(AudioSource):
    path: Path
    stream: int
    clock: _Clock | None  # None: only decoding from the start tells which sample is which
    stated: int | None  # length in samples, None if it is only estimated

    def _decode(self, start: int = 0) -> Generator[Tensor, None, None]:
        place = start - _PREROLL
        if self.clock is None or place <= 0:
            return drop(self._converted(_frames(self.path, self.name, self.stream), 0), start)
        return self._decode_near(self.clock, start)

    def _decode_near(self, clock: _Clock, start: int) -> Generator[Tensor, None, None]:
        earliest = clock.origin + (start - _PREROLL) * clock.ticks
        frames = _frames(self.path, self.name, self.stream, earliest, clock.seeks)
        first = next(frames, None)
        if first is None or first.pts is None:
            return
        place = (first.pts - clock.origin) // clock.ticks
        if place > start:
            # Only a file whose index lies about its packets gets here.
            yield from drop(self._converted(_frames(self.path, self.name, self.stream), 0), start)
            return
        yield from drop(self._converted(_chain(first, frames), place), start - place)

    def _converted(self, frames: Iterator[AudioFrame | None], place: int) -> Iterator[Tensor]:
        """Samples of decoded frames that start at sample `place`; rate and channels may not change."""
        cut = False
        for frame in frames:
            if frame is None:
                cut = True
                continue
            samples = _planar(frame)
            if (frame.sample_rate, samples.shape[0]) != (self.sample_rate, self.channels):
                raise AudioError(
                    f"{self.name} changes at {place / self.sample_rate:.1f} s from {self.channels} channels "
                    f"at {self.sample_rate} Hz to {samples.shape[0]} at {frame.sample_rate} Hz; "
                    "split it there, or export it again from an audio editor"
                )
            place += samples.shape[1]
            yield to_float(samples)
        second = place / self.sample_rate
        if self.stated is not None and place + _LEEWAY * self.sample_rate < self.stated:
            self._warn(ends_early(self.name, second, self.stated / self.sample_rate))
        elif cut:
            self._warn(ends_early(self.name, second))


def open_file(path: Path, stream: int) -> AudioSource:
    """See `hdemucs.audio.codecs.Codec.open_file`; always a source or an error, never None."""
    with _opened(path, str(path)) as container:
        streams = container.streams.audio
        if not streams:
            raise AudioError(f"{path} has no audio, only pictures, text or the like; choose another file")
        check_stream(path, stream, len(streams))
        audio = streams[stream]
        if audio.codec_context is None:
            raise AudioError(f"{path} has a codec that FFmpeg cannot decode; convert it to WAV or FLAC")
        seconds = _seconds(container, audio)
        stated = _states_duration(path, container)
        cut = container.format.name == "ogg" and pages.lacks_end(path)
        tags = {
            key: text.encode(errors="surrogateescape").decode(errors="replace")
            for key, text in known_tags({**container.metadata, **audio.metadata}).items()
        }
        count = len(streams)
        # Headers are not always right (AAC with spectral band replication states half of the rate); decoded
        # frames are.
        first = next(_decoded(container, str(path), stream), None)
        if first is None:
            raise AudioError(f"{path} has no audio that can be decoded; {WHOLE_COPY}")
        return _LibavSource(
            name=str(path),
            sample_rate=first.sample_rate,
            channels=_planar(first).shape[0],
            length=(length := round(seconds * first.sample_rate)) or None,
            streams=count,
            tags=tags,
            path=path.absolute(),
            stream=stream,
            clock=_clock(container, audio, first),
            stated=length if stated else None,
            warnings=[ends_early(str(path), seconds)] if cut else [],
        )


def _clock(container: InputContainer, audio: AudioStream, first: AudioFrame) -> _Clock | None:
    """Clock of a stream that can be entered in the middle, None for others."""
    codec = audio.codec_context
    seeks = "mp4" in container.format.name.split(",")
    if first.pts is None or audio.time_base is None or not (seeks or container.format.name == "mp3"):
        return None
    # Spectral band replication carries state of its own from frame to frame.
    if not (codec.name.startswith(_EXACT_CODECS) or (codec.name == "aac" and codec.profile == "LC")):
        return None
    ticks = 1 / (audio.time_base * first.sample_rate)
    # Timestamps that run ahead of the packets have gaps, which decoding closes.
    gaps = (
        codec.frame_size and audio.frames and (audio.duration or 0) > audio.frames * codec.frame_size * ticks
    )
    return None if gaps or ticks.denominator != 1 else _Clock(first.pts, int(ticks), seeks)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[InputContainer]:
    try:
        # An open file and no protocols: a playlist in disguise must not make FFmpeg fetch anything else.
        options = {"protocol_whitelist": "none"}
        with (
            _File(io.FileIO(path)) as file,
            av.open(file, options=options, **_KEEP_BYTES) as container,
        ):
            yield container
    except (FFmpegError, OSError) as error:
        reason = error.strerror or one_line(error)
        raise AudioError(f"{name} is not audio, or is damaged ({reason}); {WHOLE_COPY}") from None


def _seconds(container: InputContainer, audio: AudioStream) -> float:
    """Duration according to the header, 0 if it does not say."""
    if audio.duration is not None and audio.time_base is not None:
        return float(audio.duration * audio.time_base)
    return (container.duration or 0) / av.time_base


def _states_duration(path: Path, container: InputContainer) -> bool:
    """Whether the duration of the audio was read in the file, and not estimated from its size."""
    names = container.format.name.split(",")
    if "mp3" in names:
        return _has_count(path)
    # Matroska states only how long its longest stream is.
    return "mp4" in names or ("matroska" in names and len(container.streams) == 1)


def _has_count(path: Path) -> bool:
    """Whether an MP3 states its number of frames, in a frame of its own before the music."""
    with _opened(path, str(path)) as container:
        music = next((packet.pos for packet in container.demux(audio=0) if packet.pos), 0)
    with path.open("rb") as file:
        file.seek(max(0, music - _LONGEST_FRAME))
        frame = file.read(min(music, _LONGEST_FRAME))
    mark = max(frame.rfind(b"Xing"), frame.rfind(b"Info"))
    return b"VBRI" in frame or (mark >= 0 and any(flags & 1 for flags in frame[mark + 7 : mark + 8]))


def _frames(
    path: Path, name: str, stream: int, earliest: int | None = None, seek: bool = False
) -> Iterator[AudioFrame | None]:
    """Decoded frames of a file: all, or those of packets with a timestamp of `earliest` or later.

    As in `_decoded`, there may be a None at the end.
    """
    with _opened(path, name) as container:
        if earliest is not None and seek:
            container.seek(earliest, stream=container.streams.audio[stream])
        yield from _decoded(container, name, stream, earliest)


def _decoded(
    container: InputContainer, name: str, stream: int, earliest: int | None = None
) -> Iterator[AudioFrame | None]:
    """Decoded frames with samples in them, from the container's position on.

    A packet that cannot be decoded is skipped before the first good one and after the last (a file cut
    anywhere starts or ends with half a packet). In between, time would be lost: that is an AudioError. None
    stands for a skipped end, except in MP3, where it may be a tag.
    """
    good = False
    second = 0.0
    broken: FFmpegError | None = None
    for packet in container.demux(container.streams.audio[stream]):
        if earliest is not None and packet.pts is not None and packet.pts < earliest:
            continue
        try:
            frames = packet.decode()
        except FFmpegError as error:
            broken = error if good else None
            continue
        for frame in frames:
            # The packet without data that ends every stream only brings what the decoder held back.
            if broken and packet.size:
                raise damaged(name, second, broken.strerror)
            if frame.samples:
                if not good and frame.time is not None and earliest is not None:
                    second = frame.time
                good = True
                yield frame
                second += frame.samples / frame.sample_rate
    if broken and container.format.name != "mp3":
        yield None


def _chain(first: AudioFrame, frames: Iterator[AudioFrame | None]) -> Iterator[AudioFrame | None]:
    yield first
    yield from frames


def _planar(frame: AudioFrame) -> np.ndarray:
    """Samples `[channels, n]`."""
    channels = frame.layout.nb_channels
    dtype = _TYPES[frame.format.name.removesuffix("p")]
    if not frame.format.is_planar:
        packed = np.frombuffer(bytes(frame.planes[0]), dtype, frame.samples * channels)
        return packed.reshape(frame.samples, channels).T
    # `frame.planes` takes whatever follows FFmpeg's list of 8 or more planes for planes: it may crash.
    planes = [AudioPlane(frame, channel) for channel in range(channels)]
    return np.stack([np.frombuffer(bytes(plane), dtype, frame.samples) for plane in planes])


class _File(io.BufferedReader):
    """A file in which a place that cannot be is not an exception, which PyAV would print."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError):
            return -1
