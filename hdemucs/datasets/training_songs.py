"""Songs for training: finding them, telling which of their stems are known, and reading excerpts.

A folder of songs is MusDB-HQ or MusDB18 (`train/` is used, and `valid/` if it exists, but never `test/`), or
a plain folder in which each song is a folder of stem files (`drums.wav`, ..., with or without `mixture.wav`)
or a `.stem.mp4` file.

A stem without a file is *unknown*: it may be part of the mixture, but there is no true signal to compute a
loss with. A *silent* stem is declared as such in `stems.yaml`, see `hdemucs.datasets.stems_yaml`.

Letters in shapes: S sources, R = S + 1 rows, C channels, L samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.audio.resampling import rate_ratio
from hdemucs.datasets.musdb import MUSDB_HELP
from hdemucs.datasets.songs import Song, songs_in
from hdemucs.datasets.stems_yaml import annotate
from hdemucs.errors import DatasetError
from hdemucs.tracks import SUFFIXES


@dataclass(frozen=True)
class TrainingSong:
    """A song whose files are all readable.

    Attributes:
        song: Files to use, and stems known to be silent; any other stem is unknown.
        sample_rate: Sample rate of most of its files, in Hz.
        length: Length of its shortest file in samples, at that rate.
    """

    song: Song
    sample_rate: int
    length: int

    @property
    def name(self) -> str:
        """Name of the song."""
        return self.song.name

    def known(self, source: str) -> bool:
        """Whether the true stem of a source is known: it has a file, or is silent."""
        return source in self.song.files or source in self.song.silent

    def known_sources(self, sources: Sequence[str]) -> Tensor:
        """Mask of the sources for which the true stem is known, `[S]` bool."""
        return torch.tensor([self.known(source) for source in sources], dtype=torch.bool)

    def length_at(self, sample_rate: int) -> int:
        """Length in samples at another sample rate, in Hz."""
        old, new = rate_ratio(self.sample_rate, sample_rate)
        return self.length * new // old

    def stems(
        self,
        sources: Sequence[str],
        sample_rate: int,
        channels: int,
        start: int = 0,
        length: int | None = None,
    ) -> Tensor:
        """Read an excerpt of the song by seeking in its files.

        The last row is the rest: what the mixture has beyond the known sources. If a source is unknown, or
        the song has stems that are not among the sources, it is the mixture minus the known sources, or,
        if the mixture has no file, the sum of those other stems. Otherwise it is zero.

        Args:
            sources: Names of the sources, one for each row but the last.
            sample_rate: Sample rate of the result in Hz; `start` and `length` count samples at this rate.
            channels: Number of channels of the result.
            start: First sample of the excerpt.
            length: Length of the excerpt in samples, padded with zeros beyond the end of the song; None reads
                to the end.

        Returns:
            `[R, C, length]` float32; the rows of silent or unknown stems are zero.

        Raises:
            AudioError: A file is damaged or missing.
        """
        available = max(0, self.length_at(sample_rate) - start)
        length = available if length is None else length
        rows = torch.zeros(len(sources) + 1, channels, length)

        def add(row: Tensor, name: str) -> None:
            excerpt = audio.convert_part(
                self._files[name], start, min(length, available), sample_rate, channels
            )
            row[:, : excerpt.shape[-1]] += excerpt

        for row, source in zip(rows, sources, strict=False):
            if source in self.song.files:
                add(row, source)
        others = [name for name in self.song.sources if name not in sources]
        if others or not all(map(self.known, sources)):
            if "mixture" in self.song.files:
                add(rows[-1], "mixture")
                rows[-1] -= rows[:-1].sum(0)
            else:
                for name in others:
                    add(rows[-1], name)
        return rows

    def full_track(self, sources: Sequence[str], sample_rate: int, channels: int) -> tuple[Tensor, Tensor]:
        """Read the whole song: its rows `[R, C, L]` float32, and the mask of known sources `[S]` bool."""
        return self.stems(sources, sample_rate, channels), self.known_sources(sources)

    @cached_property
    def _files(self) -> dict[str, audio.AudioSource]:
        """Every file, opened once, so that headers are not read again for each excerpt."""
        return {name: audio.open(path, stream=stream) for name, (path, stream) in self.song.files.items()}


def find_training_songs(folder: Path) -> list[Song]:
    """Find the songs to train with in a folder, annotated by its `stems.yaml`.

    Returns:
        Songs sorted by name, at least one; those of `valid/` come last and are held out.

    Raises:
        DatasetError: The folder has no songs, or a `stems.yaml` has mistakes.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; give a folder of songs, each a folder of stems")
    train = folder / "train" if (folder / "train").is_dir() else folder
    songs = annotate(train, songs_in(train))
    if not songs:
        raise DatasetError(_no_songs(folder, train))
    valid = folder / "valid"
    held_out = annotate(valid, songs_in(valid)) if valid.is_dir() else []
    return songs + [replace(song, held_out=True) for song in held_out]


def _no_songs(folder: Path, train: Path) -> str:
    if (folder / "test").is_dir() and train == folder:
        return f"{folder} has only test/, which is never trained on; put songs to train on into its train/"
    if any(path.suffix.lower() in SUFFIXES for path in train.iterdir()):
        return f"{train} is a song, not a folder of songs; give its parent folder, {train.parent}"
    return (
        f"{train} has no songs, neither folders of stem files (drums.wav, ...) nor .stem.mp4 files; put the "
        f"stems of each song into a folder of its own there, or {MUSDB_HELP}"
    )
