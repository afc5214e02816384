"""Signals with known answers, and files that contain them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.audio import AudioSource
from hdemucs.errors import AudioError

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
# Encoder and container of the formats for which FFmpeg cannot choose them by the suffix.
CONTAINERS = {"alac": ("alac", "ipod")}


def tones(rate: int, seconds: float, channels: int = 2, lowest: float = 440.0, level: float = 0.5) -> Tensor:
    """Sines `[channels, samples]`; channel k has (k + 1) times the lowest frequency."""
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    pitch = lowest * torch.arange(1, channels + 1, dtype=torch.float64)
    return (level * torch.sin(2 * torch.pi * pitch[:, None] * time)).float()


def noise(length: int, channels: int = 2, level: float = 0.25, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level * (2 * torch.rand(channels, length, generator=generator) - 1)


def pitches(audio: Tensor, rate: int) -> list[float]:
    """Strongest frequency of each channel, in Hz."""
    spectrum = torch.fft.rfft(audio.double() * torch.hann_window(audio.shape[-1], dtype=torch.float64)).abs()
    return [peak * rate / audio.shape[-1] for peak in spectrum.argmax(dim=-1).tolist()]


def snr(got: Tensor, wanted: Tensor) -> float:
    """Signal-to-noise ratio in dB over the samples that both have."""
    length = min(got.shape[-1], wanted.shape[-1])
    got, wanted = got[..., :length].double(), wanted[..., :length].double()
    return float(10 * torch.log10(wanted.square().sum() / (got - wanted).square().sum().clamp(min=1e-30)))


def gather(blocks: AudioSource | Iterable[Tensor]) -> Tensor:
    if isinstance(blocks, AudioSource):
        blocks = blocks.blocks()
    return torch.cat(list(blocks), dim=-1)


def save(path: Path, samples: Tensor, rate: int = 48000, **options: Any) -> Path:
    """Write a file in the format of its suffix, unless told otherwise."""
    # Absolute, because soundfile takes "-" for standard output.
    soundfile.write(path.absolute(), samples.T.numpy(), rate, **options)
    return path


def refused(path: Path, **options: Any) -> str:
    """Error message of opening and reading `path`."""
    with pytest.raises(AudioError) as caught:
        gather(audio.open(path, **options))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def encode_libav(
    path: Path,
    signals: list[Tensor],
    rate: int,
    codec: str | None = None,
    container: str | None = None,
    tags: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    format_options: dict[str, str] | None = None,
) -> None:
    """Write each signal as an audio stream of its own with FFmpeg, which chooses by suffix what is None."""
    with av.open(str(path), "w", format=container, options=format_options or {}) as output:
        # FFmpeg's own encoders of Opus and, in some builds, of Vorbis are experimental.
        codec = codec or output.default_audio_codec.replace("opus", "libopus")
        options = {"strict": "experimental", **(options or {})}
        output.metadata.update(tags or {})
        streams = []
        for signal in signals:
            stream = output.add_stream(codec, rate=rate, layout=LAYOUTS[signal.shape[0]], options=options)
            stream.bit_rate = 128_000 * signal.shape[0]
            streams.append(stream)
        for stream, signal in zip(streams, signals, strict=True):
            layout = LAYOUTS[signal.shape[0]]
            output.start_encoding()
            resampler = av.AudioResampler(
                stream.format.name, layout, rate, frame_size=stream.codec_context.frame_size or 1024
            )
            # Packed: PyAV cannot fill 8 planes.
            packed = np.ascontiguousarray(signal.numpy().T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
            frame.sample_rate, frame.pts = rate, 0
            for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
                output.mux(stream.encode(piece))


def encode_format(
    path: Path, format: str, signal: Tensor, rate: int, tags: dict[str, str] | None = None
) -> None:
    """Write a file in one of the readable formats with FFmpeg; its suffix is that of the format."""
    codec, container = CONTAINERS.get(format, (None, None))
    encode_libav(path, [signal], rate, codec, container, tags)


def encode_video(path: Path) -> None:
    """Write a video of grey pictures without audio."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), "rgb24")
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
