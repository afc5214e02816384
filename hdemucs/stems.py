"""Separated stems in memory, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.audio.codecs import WRITABLE, choose_encoding
from hdemucs.errors import OptionError
from hdemucs.existing import Existing, writable_places
from hdemucs.suggest import hint

Clip = Literal["rescale", "clamp", "none"]
"""What happens to samples beyond full scale; see `Format`."""


@dataclass(frozen=True)
class Format:
    """How stems are written; `hdemucs.audio.codecs.WRITABLE` lists the formats and their choices.

    Attributes:
        format: Name of the format, such as `wav`, `flac`, `mp3` or `ogg`; also the suffix of the files.
        bits: Bits per sample, such as `16`, `24` or `32f` (floating point) for WAV; None for the format's
            default.
        bitrate: Constant bitrate in kbit/s, for MP3; None for the highest.
        clip: What happens to samples beyond full scale: `rescale` turns all stems down by one gain, so that
            the levels among them are kept; `clamp` clips them; `none` leaves it to the format. In no case do
            stems add up to the song exactly: a model estimates each of them.

    Raises:
        OptionError: The format cannot be written, or the options contradict one another.
    """

    format: str = "wav"
    bits: str | None = None
    bitrate: int | None = None
    clip: Clip = "rescale"

    def __post_init__(self) -> None:
        name = str(self.format).lower()
        if name not in WRITABLE:
            raise OptionError(
                f"format {self.format!r} cannot be written; choose one of {', '.join(WRITABLE)}"
                f"{hint(name, WRITABLE)}"
            )
        if self.clip not in get_args(Clip):
            raise OptionError(f"clip={self.clip!r} does not exist; choose {', '.join(get_args(Clip))}")
        codec, bits = WRITABLE[name], self.bits
        if isinstance(bits, int):
            bits = str(bits)
        # Which bitrates there are depends on the sample rate, which only the writer knows.
        bitrate = None if codec.bitrates else self.bitrate
        choose_encoding(name, bits, bitrate, codec.rates[-1], 1)
        object.__setattr__(self, "format", name)
        object.__setattr__(self, "bits", bits)

    @classmethod
    def of(cls, format: Format | str | None) -> Format:
        """Format from its name; None stands for 16-bit WAV.

        Raises:
            OptionError: There is no such format to write.
        """
        return format if isinstance(format, Format) else cls() if format is None else cls(format)

    def writer(
        self, paths: Mapping[str, Path], sample_rate: int, channels: int, length: int, tags: Mapping[str, str]
    ) -> audio.StemWriter:
        """Writer of the stems of one track.

        Args:
            paths: File of each stem by name.
            sample_rate: Sample rate in Hz.
            channels: Number of channels.
            length: Number of samples per channel.
            tags: Tags of the files.

        Raises:
            OptionError: The format does not have this bitrate at this sample rate.
            OutputError: The format cannot hold such audio.
        """
        return audio.StemWriter(
            paths,
            sample_rate,
            channels,
            format=self.format,
            bits=self.bits,
            bitrate=self.bitrate,
            clip=self.clip,
            tags=tags,
            length=length,
        )


class Stems(Mapping[str, Tensor]):
    """Separated stems by name, each `[C, L]` float32.

    Attributes:
        sample_rate: Sample rate in Hz, the same as the model's.
        tags: Title, artist and other tags of the track.
        warnings: What went wrong with a track that was separated nevertheless, one line each: it ends before
            it should, or memory ran out.
    """

    def __init__(
        self,
        stems: Mapping[str, Tensor],
        sample_rate: int,
        tags: Mapping[str, str],
        warnings: Sequence[str] = (),
    ) -> None:
        self._stems = dict(stems)
        self.sample_rate = sample_rate
        self.tags = dict(tags)
        self.warnings = tuple(warnings)

    def __getitem__(self, name: str) -> Tensor:
        return self._stems[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stems)

    def __len__(self) -> int:
        return len(self._stems)

    def __repr__(self) -> str:
        seconds = next(iter(self.values())).shape[-1] / self.sample_rate
        return f"Stems({', '.join(self)}: {seconds:.1f} s at {self.sample_rate} Hz)"

    def save(
        self,
        folder: str | PathLike[str],
        format: Format | str | None = None,
        *,
        existing: Existing = "error",
    ) -> dict[str, Path]:
        """Write each stem as `folder/STEM.EXT`.

        Args:
            folder: Folder of the files, created as needed.
            format: Format of the files, or its name; None for 16-bit WAV.
            existing: What to do where stems exist: `error` writes nothing, `skip` writes those that are
                missing, `overwrite` replaces them.

        Returns:
            File of each stem by name.

        Raises:
            OptionError: The options of the format contradict one another.
            StemsExistError: A stem exists, and `existing` is `error`.
            OutputError: The files cannot be written; none of them is left behind.
        """
        format = Format.of(format)
        paths = {name: Path(folder) / f"{name}.{format.format}" for name in self}
        block = torch.stack(list(self.values()))
        _, channels, length = block.shape
        with (
            writable_places(paths, existing) as places,
            format.writer(places, self.sample_rate, channels, length, self.tags) as writer,
        ):
            writer.write(block)
        return paths
