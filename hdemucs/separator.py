"""Separation of tracks into stems: decode, apply the model, encode; in memory, or from file to files.

Letters in shapes: C channels, L samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdemucs import audio
from hdemucs.apply import ProgressCallback, apply, make_options
from hdemucs.checkpoint import as_model
from hdemucs.errors import AudioError, OptionError
from hdemucs.model import Model
from hdemucs.pretrained import DEFAULT_MODEL, load_model
from hdemucs.stems import Format, Stems
from hdemucs.tracks import check_not_url

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hdemucs.apply import OptionValues

EPS = 1e-8
"""Added to the standard deviation of a track, as in `demucs`, so that silence is not divided by zero."""

Source = str | PathLike[str] | audio.AudioSource | Tensor | NDArray[Any]


@dataclass(frozen=True)
class Written:
    """What `Separator.separate_file` wrote.

    Attributes:
        stems: File of each stem by name.
        seconds: Duration of the track in seconds.
        gain: Factor by which all stems were multiplied; below 1 if one of them would have clipped.
        warnings: What is wrong with the track, one line each: it ends before it should.
    """

    stems: dict[str, Path]
    seconds: float
    gain: float
    warnings: tuple[str, ...] = ()


class Separator:
    """A model, ready for any number of tracks.

    For several processes, start them with multiprocessing's "spawn" (or "forkserver"): a child that is forked
    after a separation hangs in its own, since torch's threads survive no fork.

    Args:
        model: Name of a registered model (see `hdemucs models`), path of a model file, `hf://user/repo`, or a
            model, which may be an `HDemucs` of torchaudio.
        stems: Sources of the model to return; None for all.
        two_stems: Source to return together with `no_SOURCE`, the sum of all others; None for separate stems.
            It cannot be combined with `stems`.
        options: Fields of `hdemucs.apply.Options`: segment, overlap, shifts, batch_size, jobs, device,
            precision.

    Attributes:
        precision: Name of the type that the model computes in: that of the options, or what `auto` stands for
            on the device.

    Raises:
        UnknownModelError: There is no such model.
        DownloadError: The model cannot be downloaded.
        CheckpointError: The model file is damaged or unsafe.
        OptionError: Options contradict one another, or the model does not have a stem.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Model | nn.Module = DEFAULT_MODEL,
        *,
        stems: Sequence[str] | None = None,
        two_stems: str | None = None,
        **options: Unpack[OptionValues],
    ) -> None:
        self.options = make_options(options, ("model", "stems", "two_stems"))
        self.device = self.options.torch_device()
        self.precision = str(self.options.inner_dtype(self.device)).removeprefix("torch.")
        self.model: Model = load_model(model) if isinstance(model, str | PathLike) else as_model(model)
        self._mixes = _mixes(self.model.sources, stems, two_stems)

    @property
    def stems(self) -> list[str]:
        """Names of the stems."""
        return list(self._mixes)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the stems in Hz."""
        return self.model.sample_rate

    def separate(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        progress: ProgressCallback | None = None,
        strict: bool = False,
    ) -> Stems:
        """Separate a track in memory.

        Args:
            source: Path of an audio file, an `AudioSource`, or samples `[C, L]` as an array or tensor.
            sample_rate: Sample rate of samples in Hz; not needed for a file.
            progress: Function called after each chunk, which may cancel; None for that of the options.
            strict: Whether a file that ends before it should is an error, rather than separated as far as it
                goes, with `warnings`.

        Raises:
            AudioError: The source cannot be read, has no audio, or has samples that are not finite.
            OptionError: Samples come without a sample rate, or the device has too little memory.
            Cancelled: `progress` cancelled the separation.
        """
        track = _open(source, sample_rate)
        level = self._measure(track, strict)
        with self._explained(track):
            out = torch.empty(len(self._mixes), self.model.audio_channels, level.length)
        position = 0
        for block in self._stream(track, level, progress):
            out[..., position : position + block.shape[-1]] = block
            position += block.shape[-1]
        return Stems(dict(zip(self._mixes, out, strict=True)), self.sample_rate, track.tags, track.warnings)

    def separate_file(
        self,
        source: str | PathLike[str] | audio.AudioSource,
        paths: Mapping[str, str | PathLike[str]],
        format: Format | str | None = None,
        *,
        progress: ProgressCallback | None = None,
        strict: bool = False,
    ) -> Written:
        """Separate a track of any length into files, written as it proceeds.

        Args:
            source: Path of an audio file, or `hdemucs.audio.from_samples(samples, sample_rate)`.
            paths: File of each of `self.stems`; all appear together when they are complete, in place of files
                that exist.
            format: Format of the files, whatever their suffixes; None for 16-bit WAV.
            progress: Function called after each chunk, which may cancel; None for that of the options.
            strict: Whether a file that ends before it should is an error; see `separate`.

        Raises:
            AudioError: The source cannot be read, has no audio, or has samples that are not finite.
            OptionError: A stem has no path, the options of the format contradict one another, or the device
                has too little memory.
            OutputError: The files cannot be written.
            Cancelled: `progress` cancelled the separation; no file is left behind.
        """
        track = _open(source, None)
        if missing := [name for name in self._mixes if name not in paths]:
            raise OptionError(f"paths has no file for {', '.join(missing)}")
        ordered = {name: Path(paths[name]) for name in self._mixes}
        level = self._measure(track, strict)
        channels = self.model.audio_channels
        with Format.of(format).writer(
            ordered, self.sample_rate, channels, level.length, track.tags
        ) as writer:
            for block in self._stream(track, level, progress):
                writer.write(block)
        return Written(ordered, level.length / self.sample_rate, writer.gain, tuple(track.warnings))

    def _measure(self, track: audio.AudioSource, strict: bool) -> Level:
        with self._explained(track):
            level = Level.of(audio.convert(track, self.sample_rate, self.model.audio_channels))
        if strict and track.warnings:
            raise AudioError(track.warnings[0])
        return level

    def _stream(
        self, track: audio.AudioSource, level: Level, progress: ProgressCallback | None
    ) -> Iterator[Tensor]:
        """Finished blocks `[stems, C, L]`."""
        names = self.model.sources
        needed = [name for name in names if any(name in mix for mix in self._mixes.values())]
        rows = [[float(name in mix) for name in needed] for mix in self._mixes.values()]
        mixer = torch.tensor(rows)
        blocks = (
            (block - level.mean) / level.scale
            for block in audio.convert(track, self.sample_rate, self.model.audio_channels)
        )
        options = replace(self.options, device=self.device, progress=progress or self.options.progress)
        with self._explained(track):
            for block in apply(self.model, blocks, options, sources=needed, length=level.length):
                yield torch.einsum("ms,scl->mcl", mixer, block * level.scale + level.mean)

    @contextmanager
    def _explained(self, track: audio.AudioSource) -> Iterator[None]:
        """Turn a lack of memory, in whatever step, into one line with a remedy."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not (
                isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
            ):
                raise
            raise OptionError(
                f"{track.name}: {self.device} has too little memory; choose a shorter segment, "
                "a smaller batch size, or the device cpu"
            ) from error


@dataclass(frozen=True)
class Level:
    """Level of a track, for normalisation: a model expects input of about mean 0 and standard deviation 1.

    Attributes:
        mean: Mean of the mono mix.
        scale: Standard deviation of the mono mix, plus `EPS`.
        length: Number of samples per channel.
    """

    mean: float
    scale: float
    length: int

    @classmethod
    def of(cls, blocks: Iterator[Tensor]) -> Level:
        """Measure the mono mix of a track in one pass, merging the moments of its blocks `[C, L]`."""
        length, mean, squares = 0, 0.0, 0.0
        for block in blocks:
            mono = block.double().mean(0)
            count = mono.shape[-1]
            delta = float(mono.mean()) - mean
            squares += float((mono - mono.mean()).square().sum())
            squares += delta**2 * length * count / (length + count)
            mean += delta * count / (length + count)
            length += count
        deviation = math.sqrt(squares / (length - 1)) if length > 1 else 0.0
        return cls(mean, deviation + EPS, length)


def separate(
    source: Source,
    sample_rate: int | None = None,
    *,
    model: str | PathLike[str] | Model | nn.Module = DEFAULT_MODEL,
    stems: Sequence[str] | None = None,
    two_stems: str | None = None,
    strict: bool = False,
    **options: Unpack[OptionValues],
) -> Stems:
    """Separate one track. For many, use a `Separator`, which loads the model once.

        stems = hdemucs.separate("song.mp3")
        stems["vocals"]                # tensor [2, samples]
        stems.save("separated/song")   # drums.wav, bass.wav, other.wav, vocals.wav

    Args:
        source: Path of an audio file, an `AudioSource`, or samples `[C, L]` as an array or tensor.
        sample_rate: Sample rate of samples in Hz; not needed for a file.
        model: Name, path, `hf://user/repo` or a model itself; see `Separator`.
        stems: Sources of the model to return; None for all.
        two_stems: Source to return together with `no_SOURCE`, the sum of all others; None for separate stems.
        strict: Whether a file that ends before it should is an error, rather than a warning in the result.
        options: Fields of `hdemucs.apply.Options`: segment, overlap, shifts, batch_size, jobs, device,
            precision, progress.

    Returns:
        Tensors `[C, L]` by name of the stem, at the model's sample rate.

    Raises:
        HDemucsError: The source or the model cannot be used; see `Separator`.
    """
    separator = Separator(model, stems=stems, two_stems=two_stems, **options)
    return separator.separate(source, sample_rate, strict=strict)


def _open(source: Source, sample_rate: int | None) -> audio.AudioSource:
    if isinstance(source, audio.AudioSource):
        return source
    if isinstance(source, str | PathLike):
        check_not_url(str(source))
        return audio.open(source)
    if not isinstance(sample_rate, Real) or not math.isfinite(sample_rate):
        raise OptionError(f"samples need a sample_rate in Hz, not {sample_rate!r}")
    return audio.from_samples(source, sample_rate)


def _mixes(
    sources: Sequence[str], stems: Sequence[str] | None, two_stems: str | None
) -> dict[str, list[str]]:
    """For each stem by name, the sources of the model that add up to it."""
    stems = [stems] if isinstance(stems, str) else stems
    if stems is not None and not isinstance(stems, Iterable):
        raise OptionError(f"stems must be a list of names, not {stems!r}; choose from {', '.join(sources)}")
    wanted = [two_stems] if two_stems is not None else list(sources if stems is None else stems)
    unknown = [name for name in wanted if name not in sources]
    if unknown:
        names = ", ".join(map(str, unknown))
        raise OptionError(f"the model has no stem {names}; choose from {', '.join(sources)}")
    if not wanted:
        raise OptionError(f"stems is empty; choose from {', '.join(sources)}")
    if two_stems is None:
        return {name: [name] for name in sources if name in wanted}
    if stems is not None:
        raise OptionError("stems and two_stems cannot be combined; use one of them")
    return {two_stems: [two_stems], f"no_{two_stems}": [name for name in sources if name != two_stems]}
