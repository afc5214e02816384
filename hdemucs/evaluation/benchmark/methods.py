"""What can be scored: models, estimates made elsewhere, and bounds that no model passes.

Letters in shapes: S sources, C channels, L samples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.datasets import Song, align_lengths
from hdemucs.errors import AudioError, OptionError
from hdemucs.separator import Separator
from hdemucs.tracks import SUFFIXES


class Method(Protocol):
    """Something that estimates the sources of a song.

    Attributes:
        name: in tables.
        settings: what its scores depend on, for JSON.
    """

    name: str
    settings: dict[str, Any]

    def sources(self, song: Song) -> list[str]:
        """Names of the sources that it estimates."""

    def separate(self, song: Song) -> tuple[Tensor, int]:
        """Estimates `[S, C, L]` of these sources, and their sample rate in Hz."""


class ModelMethod:
    """A model, applied as `hdemucs separate` does."""

    def __init__(self, separator: Separator) -> None:
        self.separator = separator
        self.name = str(getattr(separator.model, "name", type(separator.model).__name__))
        options = separator.options
        segment = separator.model.segment if options.segment is None else options.segment
        self.settings = {"segment": float(segment), "overlap": options.overlap, "shifts": options.shifts}

    def sources(self, song: Song) -> list[str]:
        return self.separator.stems

    def separate(self, song: Song) -> tuple[Tensor, int]:
        stems = self.separator.separate(song.open("mixture"))
        return torch.stack(list(stems.values())), stems.sample_rate


class MixtureMethod:
    """The mixture as estimate of each source: what doing nothing scores."""

    name = "mixture"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def sources(self, song: Song) -> list[str]:
        return song.sources

    def separate(self, song: Song) -> tuple[Tensor, int]:
        mixture = song.read("mixture")
        return mixture.expand(len(song.sources), -1, -1), song.sample_rate


class RatioMaskMethod:
    """Ideal ratio mask: the mixture's spectrogram, shared out by the true sources' power.

    No mask of real numbers on this spectrogram does much better (Liutkus and Badeau, 2015, with the power
    as exponent 2); models that estimate phase or waveforms may.
    """

    name = "oracle:irm"
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


class FolderMethod:
    """Estimates made elsewhere: FOLDER/SONG/SOURCE.wav, of any audio format, or below FOLDER/test."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise OptionError(f"{folder} is no folder of estimates; it needs SONG/SOURCE.wav files")
        self.folder = folder / "test" if (folder / "test").is_dir() else folder
        self.name = folder.name
        self.settings: dict[str, Any] = {"estimates": str(folder.resolve())}

    def sources(self, song: Song) -> list[str]:
        return [source for source in song.sources if self._file(song, source) is not None]

    def separate(self, song: Song) -> tuple[Tensor, int]:
        files = [file for source in song.sources if (file := self._file(song, source)) is not None]
        if not files:
            raise AudioError(f"{self.folder / song.name} has no estimates of {', '.join(song.sources)}")
        rate = song.sample_rate
        signals = [torch.cat(list(audio.convert(audio.open(file), rate, 2)), -1) for file in files]
        return align_lengths(f"{self.folder / song.name}", signals, rate), rate

    def _file(self, song: Song, source: str) -> Path | None:
        folder = self.folder / song.name
        files = [folder / f"{source}{suffix}" for suffix in sorted(SUFFIXES)]
        return next((file for file in files if file.is_file()), None)


BOUNDS: Sequence[type[MixtureMethod] | type[RatioMaskMethod]] = (MixtureMethod, RatioMaskMethod)


def find_method(model: str, **options: Any) -> Method:
    """Method for `--model`: a bound by name (`mixture`, `oracle:irm`), or any model.

    Args:
        model: a bound, or what `Separator` takes.
        options: of `Separator`, for a model.

    Raises:
        OptionError: an oracle that there is none of.
        HDemucsError: the model cannot be had.
    """
    for bound in BOUNDS:
        if model == bound.name:
            return bound()
    if model.startswith("oracle:"):
        raise OptionError(f"no {model}; the bounds are {', '.join(bound.name for bound in BOUNDS)}")
    return ModelMethod(Separator(model, **options))
