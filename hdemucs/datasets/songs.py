"""Songs with their true stems: MusDB-HQ, folders in its layout, and MusDB18's `.stem.mp4` files.

Letters in shapes: S sources, C channels, L samples.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.datasets.musdb import MUSDB_HELP, STEM_STREAMS
from hdemucs.errors import AudioError
from hdemucs.tracks import SUFFIXES


@dataclass(frozen=True)
class Song:
    """A song whose stems are on disk.

    Attributes:
        path: Folder of the stem files, or the `.stem.mp4` file that holds all stems.
        files: File and audio stream of each stem, and of `mixture` if it has a file, by name.
        silent: Stems declared to be silent; they need no file.
        unknown: Stems whose files are declared untrustworthy.
        held_out: Whether the song is reserved for validation.
    """

    path: Path
    files: dict[str, tuple[Path, int]]
    silent: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    held_out: bool = False

    @property
    def name(self) -> str:
        """Name of the folder, or of the file without `.stem.mp4`."""
        return self.path.name.removesuffix(".stem.mp4")

    @property
    def sources(self) -> list[str]:
        """Names of the stems that have a file, sorted."""
        return sorted(name for name in self.files if name != "mixture")

    @cached_property
    def sample_rate(self) -> int:
        """Sample rate of the first stem, in Hz."""
        return self.open(self.sources[0]).sample_rate

    def open(self, name: str) -> audio.AudioSource:
        """Open a stem or the mixture; a mixture without a file is the sum of all stems.

        Args:
            name: Name of a stem, or `mixture`.

        Raises:
            AudioError: The file is missing or damaged.
        """
        if name in self.files:
            path, stream = self.files[name]
            return audio.open(path, stream=stream)
        total = sum(self.read(source) for source in self.sources)
        assert isinstance(total, Tensor)
        return audio.from_samples(total, self.sample_rate, name=f"mixture of {self.name}")

    def read(self, name: str, sample_rate: int | None = None, channels: int = 2) -> Tensor:
        """Read a whole stem or the mixture into memory.

        Args:
            name: Name of a stem, or `mixture`.
            sample_rate: Sample rate of the result, in Hz; None keeps the song's own.
            channels: Number of channels of the result.

        Returns:
            `[C, L]` float32.

        Raises:
            AudioError: The file is missing or damaged.
        """
        rate = self.sample_rate if sample_rate is None else sample_rate
        return torch.cat(list(audio.convert(self.open(name), rate, channels)), -1)

    def references(self, sources: Sequence[str], sample_rate: int | None = None, channels: int = 2) -> Tensor:
        """Read true stems, cut to the shortest if they differ by a few samples; arguments as for `read`.

        Returns:
            `[S, C, L]` float32.

        Raises:
            AudioError: A stem is missing or damaged, or lengths differ by more than a tenth of a second.
        """
        missing = [source for source in sources if source not in self.files]
        if missing:
            raise AudioError(f"{self.name} has no {', '.join(missing)}, only {', '.join(self.sources)}")
        signals = [self.read(source, sample_rate, channels) for source in sources]
        return align_lengths(self.name, signals, sample_rate or self.sample_rate)


def align_lengths(name: str, signals: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Cut signals of nearly equal length to the shortest of them.

    Args:
        name: What the error message calls the signals.
        signals: `[C, L]` each.
        sample_rate: Sample rate of all of them, in Hz.

    Returns:
        `[S, C, L]`.

    Raises:
        AudioError: The lengths differ by more than a tenth of a second.
    """
    lengths = [signal.shape[-1] for signal in signals]
    if max(lengths) - min(lengths) > sample_rate / 10:
        seconds = ", ".join(f"{length / sample_rate:.2f}" for length in lengths)
        raise AudioError(
            f"{name}: signals have different lengths ({seconds} s); they must belong to one song"
        )
    return torch.stack([signal[..., : min(lengths)] for signal in signals])


def find_songs(path: Path) -> list[Song]:
    """Find the songs of a test set.

    Args:
        path: Folder of MusDB-HQ or MusDB18, of which `test` is used; or a folder of songs, each a folder of
            stem files (`drums.wav`, ..., with or without `mixture.wav`) or a `.stem.mp4` file.

    Returns:
        Songs sorted by name, at least one.

    Raises:
        AudioError: `path` is not a folder, or has no songs.
    """
    if not path.is_dir():
        raise AudioError(f"{path} is not a folder; {MUSDB_HELP}")
    folder = path / "test" if (path / "test").is_dir() else path
    songs = songs_in(folder)
    if not songs:
        raise AudioError(
            f"{folder} has no songs, neither folders of stem files nor .stem.mp4 files; {MUSDB_HELP}"
        )
    return songs


def songs_in(folder: Path) -> list[Song]:
    """Find the songs in a folder, sorted by name: folders with at least one stem, and `.stem.mp4` files."""
    return [song for song in _walk(folder) if song.sources]


def _walk(folder: Path) -> Iterator[Song]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            yield Song(path, {file.stem: (file, 0) for file in files if not file.name.startswith(".")})
        elif path.name.endswith(".stem.mp4"):
            yield Song(path, {name: (path, stream) for stream, name in enumerate(STEM_STREAMS)})


def ordered_sources(songs: Iterable[Song]) -> list[str]:
    """List the names of all stems of all songs: those of MusDB in its order, then the others sorted."""
    names = {name for song in songs for name in song.sources}
    first = [name for name in STEM_STREAMS if name in names]
    return first + sorted(names - set(first))
