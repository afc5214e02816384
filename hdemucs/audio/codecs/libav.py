"""FFmpeg's libraries, through PyAV: read MP3, m4a, mp4, webm, `.stem.mp4` and everything else."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from torch import Tensor

from hdemucs.audio.blocks import drop
from hdemucs.audio.codecs.base import WHOLE_COPY, check_stream, damaged
from hdemucs.audio.source import AudioSource, known_tags, to_float
from hdemucs.errors import AudioError, one_line

# Samples to decode ahead of the wanted ones. Codec frames of AAC and MP3 overlap with the one before; those
# of MP3 also borrow up to 511 bytes from those before (255 below 32 kHz), which is 85 frames of 576 samples
# at 8 kbit/s.
_PREROLL = 65536
# Codecs that decode to the same samples after such a pre-roll. Not Opus, whose state fades out slowly.
_EXACT_CODECS = ("alac", "flac", "mp3", "pcm_")


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

    def _converted(self, frames: Iterator[AudioFrame], place: int) -> Iterator[Tensor]:
        """Samples of decoded frames that start at sample `place`; rate and channels may not change."""
        for frame in frames:
            samples = _planar(frame)
            if (frame.sample_rate, samples.shape[0]) != (self.sample_rate, self.channels):
                raise AudioError(
                    f"{self.name} changes at {place / self.sample_rate:.1f} s from {self.channels} channels "
                    f"at {self.sample_rate} Hz to {samples.shape[0]} at {frame.sample_rate} Hz; "
                    "split it there, or export it again from an audio editor"
                )
            place += samples.shape[1]
            yield to_float(samples)


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
        tags = known_tags({**container.metadata, **audio.metadata})
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
            length=round(seconds * first.sample_rate) or None,
            streams=count,
            tags=tags,
            path=path.absolute(),
            stream=stream,
            clock=_clock(container, audio, first),
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
        with path.open("rb") as file, av.open(file, options=options, metadata_errors="replace") as container:
            yield container
    except (FFmpegError, OSError) as error:
        reason = error.strerror or one_line(error)
        raise AudioError(f"{name} is not audio, or is damaged ({reason}); {WHOLE_COPY}") from None


def _seconds(container: InputContainer, audio: AudioStream) -> float:
    """Duration according to the header, 0 if it does not say."""
    if audio.duration is not None and audio.time_base is not None:
        return float(audio.duration * audio.time_base)
    return (container.duration or 0) / av.time_base


def _frames(
    path: Path, name: str, stream: int, earliest: int | None = None, seek: bool = False
) -> Iterator[AudioFrame]:
    """Decoded frames of a file: all, or those of packets with a timestamp of `earliest` or later."""
    with _opened(path, name) as container:
        if earliest is not None and seek:
            container.seek(earliest, stream=container.streams.audio[stream])
        yield from _decoded(container, name, stream, earliest)


def _decoded(
    container: InputContainer, name: str, stream: int, earliest: int | None = None
) -> Iterator[AudioFrame]:
    """Decoded frames with samples in them, from the container's position on.

    A packet that cannot be decoded is skipped before the first good one and after the last (a file cut
    anywhere starts or ends with half a packet). In between, time would be lost: that is an AudioError.
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
            if broken:
                raise damaged(name, second, broken.strerror)
            if frame.samples:
                if not good and frame.time is not None and earliest is not None:
                    second = frame.time
                good = True
                yield frame
                second += frame.samples / frame.sample_rate


def _chain(first: AudioFrame, frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    yield first
    yield from frames


def _planar(frame: AudioFrame) -> np.ndarray:
    """Samples `[channels, n]`; packed formats come as `[1, n * channels]`."""
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(frame.samples, -1).T
