"""Methods that can be scored: models, estimates by other software, and reference points for both.

Letters in shapes: S sources, C channels, L samples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.checkpoint import fingerprint
from hdemucs.datasets import Song, align_lengths
from hdemucs.errors import AudioError, OptionError
from hdemucs.separator import Separator
from hdemucs.tracks import SUFFIXES


class Method(Protocol):
    """Something that estimates the sources of a song.

    Attributes:
        name: Name shown in tables.
        settings: Everything that the scores depend on besides the weights, as values that JSON can hold.
        fingerprint: Fingerprint of its weights; None if it has none.
    """

    name: str
    settings: dict[str, Any]
    fingerprint: str | None

    def sources(self, song: Song) -> list[str]:
        """Names of the sources that the method estimates for a song."""

    def separate(self, song: Song) -> tuple[Tensor, int]:
        """Estimates `[S, C, L]` of these sources, and their sample rate in Hz."""

    def facts(self, song: Song) -> dict[str, Any]:
        """What else the estimates of a song depend on, as values that JSON can hold."""


class ModelMethod:
    """A model, applied as `hdemucs separate` applies it."""

    def __init__(self, separator: Separator) -> None:
        self.separator = separator
        self.name = separator.model.name or type(separator.model).__name__
        options = separator.options
        segment = separator.model.segment if options.segment is None else options.segment
        self.settings: dict[str, Any] = {
            "segment": float(segment),
            "overlap": options.overlap,
            "shifts": options.shifts,
        }
        # Runs without a precision are in float32.
        if separator.precision != "float32":
            self.settings["precision"] = separator.precision
        self.fingerprint: str | None = fingerprint(separator.model)

    def sources(self, song: Song) -> list[str]:
        return self.separator.stems

    def separate(self, song: Song) -> tuple[Tensor, int]:
        stems = self.separator.separate(song.open("mixture"))
        return torch.stack(list(stems.values())), stems.sample_rate

    def facts(self, song: Song) -> dict[str, Any]:
        return {}


class MixtureMethod:
    """The mixture as the estimate of every source: the score of doing nothing."""

    name = "mixture"

    fingerprint: str | None = None

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def sources(self, song: Song) -> list[str]:
        return song.sources

    def separate(self, song: Song) -> tuple[Tensor, int]:
        mixture = song.read("mixture")
        return mixture.expand(len(song.sources), -1, -1), song.sample_rate

    def facts(self, song: Song) -> dict[str, Any]:
        return {}


class RatioMaskMethod:
    """Ideal ratio mask: the mixture's spectrogram, divided in proportion to the power of the true sources.

    No real-valued mask on this spectrogram scores much higher (Liutkus and Badeau, 2015, with an exponent of
    2 for power). Models that estimate phase or waveforms may.
    """

    name = "oracle:irm"
    fingerprint: str | None = None
    n_fft = 4096

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"n_fft": self.n_fft}

    def sources(self, song: Song) -> list[str]:
        return song.sources

    def separate(self, song: Song) -> tuple[Tensor, int]:
        mixture = song.read("mixture")
        window = torch.hann_window(self.n_fft)

        def transform(x: Tensor) -> Tensor:
            return torch.stft(x, self.n_fft, self.n_fft // 4, window=window, return_complex=True)

        power = sum(transform(song.read(source)).abs().square() for source in song.sources) + 1e-12
        spectrum = transform(mixture) / power
        estimates = []
        for source in song.sources:
            masked = spectrum * transform(song.read(source)).abs().square()
            length = mixture.shape[-1]
            estimates.append(torch.istft(masked, self.n_fft, self.n_fft // 4, window=window, length=length))
        return torch.stack(estimates), song.sample_rate

    def facts(self, song: Song) -> dict[str, Any]:
        return {}


class FolderMethod:
    """Estimates by other software, read from files.

    Args:
        folder: Folder of SONG/SOURCE.wav files, or of files in any other audio format; it may hold them in a
            subfolder `test`.

    Raises:
        OptionError: The folder does not exist.
    """

    fingerprint: str | None = None

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise OptionError(
                f"{folder} is not a folder; estimates must be a folder of SONG/SOURCE.wav files"
            )
        self.folder = folder / "test" if (folder / "test").is_dir() else folder
        self.name = folder.name
        self.settings: dict[str, Any] = {"estimates": str(folder.resolve())}

    def sources(self, song: Song) -> list[str]:
        return [source for source in song.sources if self._file(song, source) is not None]

    def separate(self, song: Song) -> tuple[Tensor, int]:
        files = self._files(song)
        if not files:
            raise AudioError(f"{self.folder / song.name} has no estimates of {', '.join(song.sources)}")
        rate = song.sample_rate
        signals = [torch.cat(list(audio.convert(audio.open(file), rate, 2)), -1) for file in files]
        return align_lengths(f"{self.folder / song.name}", signals, rate), rate

    def facts(self, song: Song) -> dict[str, Any]:
        """When the newest estimate was written: another separation may replace those that were scored."""
        return {"estimates": max((file.stat().st_mtime_ns for file in self._files(song)), default=None)}

    def _files(self, song: Song) -> list[Path]:
        return [file for source in song.sources if (file := self._file(song, source)) is not None]

    def _file(self, song: Song, source: str) -> Path | None:
        folder = self.folder / song.name
        files = [folder / f"{source}{suffix}" for suffix in sorted(SUFFIXES)]
        return next((file for file in files if file.is_file()), None)


REFERENCE_POINTS: Sequence[type[MixtureMethod] | type[RatioMaskMethod]] = (MixtureMethod, RatioMaskMethod)
"""Methods that need no model: what any model should beat, and what few can."""


def find_method(model: str, **options: Any) -> Method:
    """Find a method by name.

    Args:
        model: Name of a reference point (`mixture`, `oracle:irm`), or any model that `Separator` takes.
        options: Options of `Separator`, used for models only.

    Raises:
        OptionError: No oracle has this name, or the options are invalid.
        HDemucsError: The model cannot be loaded.
    """
    for method in REFERENCE_POINTS:
        if model == method.name:
            return method()
    if model.startswith("oracle:"):
        known = ", ".join(method.name for method in REFERENCE_POINTS)
        raise OptionError(f"there is no method {model!r}; besides models there are {known}")
    return ModelMethod(Separator(model, **options))
