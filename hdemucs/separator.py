"""Separation of tracks into stems: decode, apply the model, encode; in memory, or from file to files.

Letters in shapes: C channels, L samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdemucs import audio
from hdemucs.apply import ProgressCallback, check_segment, make_options
from hdemucs.apply.devices import all_gpus, copy_to, is_out_of_memory
from hdemucs.chain import apply_chain, check_links, make_links, stems_of, trace
from hdemucs.checkpoint import Bundle, as_model
from hdemucs.errors import AudioError, OptionError
from hdemucs.level import TYPICAL, Level
from hdemucs.model import Bag, Model
from hdemucs.pretrained import DEFAULT_MODEL, load_model, model_name
from hdemucs.stems import Format, Stems
from hdemucs.tracks import check_not_url

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hdemucs.apply import OptionValues

Source = str | PathLike[str] | audio.AudioSource | Tensor | NDArray[Any]
AnyModel = str | PathLike[str] | Model | nn.Module | Bundle


@dataclass(frozen=True)
class Written:
    """What `Separator.separate_file` wrote.

    Attributes:
        stems: File of each stem by name.
        seconds: Duration of the track in seconds.
        gain: Factor by which all stems were multiplied; below 1 if one of them would have clipped.
        warnings: What is wrong with the track or went wrong on the way, one line each: it ends before it
            should, or memory ran out, and it was separated in smaller pieces or on the CPU.
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
            model, which may be an `HDemucs` of torchaudio or one of its bundles, such as
            `torchaudio.pipelines.HDEMUCS_HIGH_MUSDB`, whose weights torchaudio downloads the first time.
        stems: Sources of the model to return; None for all.
        two_stems: Source to return together with `no_SOURCE`, the sum of all others; None for separate stems.
            It cannot be combined with `stems`.
        then: Models that separate stems further, by name of the stem, as in `{"drums": "drumsep"}`: in one
            stream with the first model, whose sample rate and channels the parts have too. They take the
            place of their stem, also in what `stems` and `two_stems` can choose from; a part that is chosen
            may be separated further in turn. None for no others.
        options: Fields of `hdemucs.apply.Options`: segment, overlap, shifts, batch_size, jobs, device,
            precision.

    Attributes:
        precision: Name of the type that the model computes in: that of the options, or what `auto` stands for
            on the device.

    Raises:
        UnknownModelError: There is no such model.
        DownloadError: The model cannot be downloaded.
        CheckpointError: The model file is damaged or unsafe, or what is given is not a model.
        OptionError: Options contradict one another, the model does not have a stem, or takes no segment so
            long; or `then` names a stem that there is not, or that would be there twice.

    Attributes:
        model: The model, or the first one with `then`; stems have its sample rate and channels.
        name: Name of the model, joined by `+` to the names of those in `then`.
    """

    def __init__(
        self,
        model: AnyModel = DEFAULT_MODEL,
        *,
        stems: Sequence[str] | None = None,
        two_stems: str | None = None,
        then: Mapping[str, AnyModel] | None = None,
        **options: Unpack[OptionValues],
    ) -> None:
        self.options = make_options(options, ("model", "stems", "two_stems", "then"))
        self.device = self.options.torch_device()
        self.precision = str(self.options.inner_dtype(self.device)).removeprefix("torch.")
        links = make_links({} if then is None else then, _load)
        needed, used = _needed(stems, two_stems), links
        if needed is not None:
            needed, used = trace(links, needed)
        self.model: Model = _load(model, needed)
        # A bag may have been loaded without the stems of the other links.
        self._links = used if isinstance(self.model, Bag) else links
        check_segment(self.model, self.options)
        check_links(self.model, self._links, self.options)
        self._sources = stems_of(self.model, self._links)
        self._mixes = _mixes(self._sources, stems, two_stems)
        self.name = "+".join(model_name(one) for one in (self.model, *(link.model for link in links)))

    @property
    def stems(self) -> list[str]:
        """Names of the stems."""
        return list(self._mixes)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the stems in Hz."""
        return self.model.sample_rate

    def share(self, tracks: int) -> list[Separator]:
        """Separators with which to separate tracks at the same time, each in a thread of its own.

        Args:
            tracks: Number of tracks there are.

        Returns:
            No more separators than `jobs` and tracks. On a CPU, they share the model and the jobs; on CUDA,
            each has a GPU of its own with a copy of the model.
        """
        count = max(1, min(self.options.jobs, tracks))
        devices = [self.device] * count if self.device.type == "cpu" else all_gpus(self.device)[:count]
        each = [copy(self) for _ in devices]
        for separator, device in zip(each, devices, strict=True):
            separator.device = device
            separator.options = replace(self.options, jobs=self.options.jobs // len(each))
            if device != devices[0]:
                separator.model = copy_to(self.model, device)
                separator._links = [replace(link, model=copy_to(link.model, device)) for link in self._links]
        return each

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
        with self._explained(track.name):
            out = torch.empty(len(self._mixes), self.model.audio_channels, level.length)
        position = 0
        warnings: list[str] = []
        for block in self._track(track, level, progress, warnings.append):
            out[..., position : position + block.shape[-1]] = block
            position += block.shape[-1]
        stems = dict(zip(self._mixes, out, strict=True))
        return Stems(stems, self.sample_rate, track.tags, [*track.warnings, *warnings])

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
        warnings: list[str] = []
        with Format.of(format).writer(
            ordered, self.sample_rate, channels, level.length, track.tags
        ) as writer:
            for block in self._track(track, level, progress, warnings.append):
                writer.write(block)
        seconds = level.length / self.sample_rate
        return Written(ordered, seconds, writer.gain, (*track.warnings, *warnings))

    def stream(
        self, blocks: Iterable[NDArray[Any] | Tensor], sample_rate: int
    ) -> Iterator[dict[str, Tensor]]:
        """Separate audio that is just being recorded or played; stems come out as soon as they are finished.

        A block of stems is finished one segment after its first sample has come in, plus the time that the
        model takes for a segment: `Separator(segment=2)` is 2 s behind, and a little more. The model must be
        faster than a segment's own part of the audio, `(1 - overlap) * segment` seconds.

        The mean and standard deviation of a track, by which `separate` normalises it, are not known before
        its end; a typical level of music stands in for them. The networks here normalise each segment
        themselves, so next to nothing changes: on the clip of `hdemucs demo`, the difference is 90 dB below
        the stems.

        Args:
            blocks: Blocks `[C, L]`, or `[L]` for mono, of any lengths, as a generator that waits for the next
                one; its end ends the stems.
            sample_rate: Sample rate of the blocks in Hz.

        Yields:
            Tensors `[C, L]` by name of the stem, at the model's sample rate; together as long as the blocks.

        Raises:
            AudioError: A block is not audio, or has samples that are not finite.
            OptionError: The device has too little memory.
            Cancelled: The progress callback of the options cancelled the separation.
        """
        converted = audio.convert_live(blocks, sample_rate, self.sample_rate, self.model.audio_channels)
        for block in self._apply(converted, "<stream>", TYPICAL, live=True):
            yield dict(zip(self._mixes, block, strict=True))

    def _measure(self, track: audio.AudioSource, strict: bool) -> Level:
        with self._explained(track.name):
            level = Level.of(audio.convert(track, self.sample_rate, self.model.audio_channels))
        if strict and track.warnings:
            raise AudioError(track.warnings[0])
        return level

    def _track(
        self,
        track: audio.AudioSource,
        level: Level,
        progress: ProgressCallback | None,
        notice: Callable[[str], None],
    ) -> Iterator[Tensor]:
        """Finished blocks `[stems, C, L]` of a track."""
        blocks = audio.convert(track, self.sample_rate, self.model.audio_channels)
        return self._apply(
            blocks,
            track.name,
            level,
            length=level.length,
            progress=progress,
            notice=lambda text: notice(f"{track.name}: {text}"),
        )

    def _apply(
        self,
        blocks: Iterable[Tensor],
        name: str,
        level: Level,
        progress: ProgressCallback | None = None,
        **how: Any,
    ) -> Iterator[Tensor]:
        """Finished blocks `[stems, C, L]`; `how` are the arguments of `hdemucs.chain.apply_chain`."""
        needed = [name for name in self._sources if any(name in mix for mix in self._mixes.values())]
        mixer = torch.tensor([[float(name in mix) for name in needed] for mix in self._mixes.values()])
        normalised = ((block - level.mean) / level.scale for block in blocks)
        options = replace(self.options, device=self.device, progress=progress or self.options.progress)
        with self._explained(name):
            for block in apply_chain(self.model, self._links, normalised, options, sources=needed, **how):
                yield torch.einsum("ms,scl->mcl", mixer, block * level.scale + level.mean)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn a lack of memory, in whatever step, into one line with a remedy."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OptionError(
                f"{name}: {self.device} has too little memory; choose a shorter segment, "
                "a smaller batch size, or the device cpu"
            ) from error


def separate(
    source: Source,
    sample_rate: int | None = None,
    *,
    model: AnyModel = DEFAULT_MODEL,
    stems: Sequence[str] | None = None,
    two_stems: str | None = None,
    then: Mapping[str, AnyModel] | None = None,
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
        then: Models that separate stems further, by name of the stem; see `Separator`.
        strict: Whether a file that ends before it should is an error, rather than a warning in the result.
        options: Fields of `hdemucs.apply.Options`: segment, overlap, shifts, batch_size, jobs, device,
            precision, progress.

    Returns:
        Tensors `[C, L]` by name of the stem, at the model's sample rate.

    Raises:
        HDemucsError: The source or the model cannot be used; see `Separator`.
    """
    separator = Separator(model, stems=stems, two_stems=two_stems, then=then, **options)
    return separator.separate(source, sample_rate, strict=strict)


def _load(model: AnyModel, sources: Sequence[str] | None = None) -> Model:
    return load_model(model, sources=sources) if isinstance(model, str | PathLike) else as_model(model)


def _open(source: Source, sample_rate: int | None) -> audio.AudioSource:
    if isinstance(source, audio.AudioSource):
        return source
    if isinstance(source, str | PathLike):
        check_not_url(str(source))
        return audio.open(source)
    if not isinstance(sample_rate, Real) or not math.isfinite(sample_rate):
        raise OptionError(f"samples need a sample_rate in Hz, not {sample_rate!r}")
    return audio.from_samples(source, sample_rate)


def _needed(stems: Sequence[str] | None, two_stems: str | None) -> list[str] | None:
    """Sources that the stems need; None for all, as with `two_stems`, whose other stem is the sum of them."""
    if two_stems is not None or not isinstance(stems, Iterable):
        return None
    return [stems] if isinstance(stems, str) else list(stems) or None


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
