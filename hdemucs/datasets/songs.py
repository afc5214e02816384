"""Songs with their true stems: MusDB-HQ, folders in its layout, and MusDB18's `.stem.mp4` files.

Letters in shapes: C channels, L samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.errors import AudioError
from hdemucs.tracks import SUFFIXES

STEM_STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""Streams of a MusDB18 file, in order."""

MUSDB_HELP = "MusDB-HQ is had from https://zenodo.org/records/3338373"


@dataclass(frozen=True)
class Song:
    """One song of a test or training set.

    Attributes:
        name: of its folder or file.
        files: of its mixture, if it has one, and its stems: path and stream by name.
    """

    name: str
    files: dict[str, tuple[Path, int]]

    @property
    def sources(self) -> list[str]:
        """Names of its stems, sorted."""
        return sorted(name for name in self.files if name != "mixture")

    @cached_property
    def sample_rate(self) -> int:
        """Of its first stem, in Hz."""
        return self.open(self.sources[0]).sample_rate

    def open(self, name: str) -> audio.AudioSource:
        """A stem, or the mixture: its file, or the sum of all stems where it has none."""
        if name in self.files:
            path, stream = self.files[name]
            return audio.open(path, stream=stream)
        total = sum(self.read(source) for source in self.sources)
        assert isinstance(total, Tensor)
        return audio.from_samples(total, self.sample_rate, name=f"mixture of {self.name}")

    def read(self, name: str, sample_rate: int | None = None, channels: int = 2) -> Tensor:
        """A stem or the mixture in memory, `[C, L]` float32.

        Args:
            name: of a stem, or `mixture`.
            sample_rate: to resample to; the song's own if None.
            channels: to remix to.

        Raises:
            AudioError: the file is missing or damaged.
        """
        rate = self.sample_rate if sample_rate is None else sample_rate
        return torch.cat(list(audio.convert(self.open(name), rate, channels)), -1)

    def references(self, sources: Sequence[str], sample_rate: int | None = None, channels: int = 2) -> Tensor:
        """True stems `[S, C, L]`, cut to the shortest if they differ by a few samples.

        Raises:
            AudioError: a source is missing or damaged, or lengths differ by more than a tenth of a second.
        """
        missing = [source for source in sources if source not in self.files]
        if missing:
            raise AudioError(f"{self.name} has no {', '.join(missing)}, only {', '.join(self.sources)}")
        signals = [self.read(source, sample_rate, channels) for source in sources]
        return together(self.name, signals, sample_rate or self.sample_rate)


def together(name: str, signals: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Signals `[C, L]` of nearly the same length as `[S, C, L]`; AudioError if they are not."""
    lengths = [signal.shape[-1] for signal in signals]
    if max(lengths) - min(lengths) > sample_rate / 10:
        seconds = ", ".join(f"{length / sample_rate:.2f}" for length in lengths)
        raise AudioError(
            f"the signals of {name} are of different lengths ({seconds} s); they must be one song's"
        )
    return torch.stack([signal[..., : min(lengths)] for signal in signals])


def find_songs(path: Path) -> list[Song]:
    """Songs of a test set, by name.

    Args:
        path: MusDB-HQ or MusDB18, of which the folder `test` is taken; or a folder of songs, each a folder of
            stem files (`drums.wav`, ..., with or without `mixture.wav`) or a `.stem.mp4` file.

    Raises:
        AudioError: there are none.
    """
    if not path.is_dir():
        raise AudioError(f"{path} is no folder; {MUSDB_HELP}")
    folder = path / "test" if (path / "test").is_dir() else path
    songs = songs_in(folder)
    if not songs:
        raise AudioError(f"{folder} has no songs: neither folders of stem files nor .stem.mp4; {MUSDB_HELP}")
    return songs


def songs_in(folder: Path) -> list[Song]:
    """Songs of a folder by name, of those that have a stem: folders of stem files, and `.stem.mp4` files."""
    return [song for song in _candidates(folder) if song.sources]


def _candidates(folder: Path) -> Iterator[Song]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            yield Song(path.name, {file.stem: (file, 0) for file in files if not file.name.startswith(".")})
        elif path.name.endswith(".stem.mp4"):
            streams = {name: (path, stream) for stream, name in enumerate(STEM_STREAMS)}
            yield Song(path.name.removesuffix(".stem.mp4"), streams)
