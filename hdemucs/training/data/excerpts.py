"""Excerpts of songs, read from disk on demand, and the order in which they are trained on.

Letters in shapes: S sources, R = S + 1 rows, C channels, L samples.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from hdemucs.datasets import TrainingSong
from hdemucs.errors import TrainingError
from hdemucs.training.data.repitch import Repitch

ExcerptKey = tuple[int, int]
"""Epoch and index of an excerpt; together with the seed, they determine its random changes."""


class Excerpts(Dataset[tuple[Tensor, Tensor]]):
    """Excerpts of all songs: one starts every `stride` seconds, so longer songs have more of them.

    The last excerpt of a song is moved back so that it ends with the song. A song shorter than an excerpt is
    a single excerpt, padded with zeros.

    Args:
        songs: Songs to cut, at least one.
        sources: Names of the sources, one for each row but the last.
        sample_rate: Sample rate of the excerpts in Hz; songs at another rate are resampled.
        audio_channels: Number of channels of the excerpts; songs with another number are remixed.
        seconds: Duration of an excerpt in seconds.
        stride: Seconds between the starts of consecutive excerpts. With a random shift of the same duration
            (see `hdemucs.training.data.augment`), every position in a song is equally likely as a start.
        repitch: Random change of tempo and pitch; None for no change.
        seed: Seed of the random changes.
    """

    def __init__(
        self,
        songs: Sequence[TrainingSong],
        sources: Sequence[str],
        *,
        sample_rate: int,
        audio_channels: int,
        seconds: float,
        stride: float,
        repitch: Repitch | None = None,
        seed: int = 0,
    ) -> None:
        self.songs = list(songs)
        self.sources = list(sources)
        self.sample_rate = sample_rate
        self.audio_channels = audio_channels
        self.length = round(seconds * sample_rate)
        self._stride = round(stride * sample_rate)
        if min(self.length, self._stride) < 1:
            raise TrainingError(f"excerpts of {seconds} s every {stride} s are empty; make both longer")
        self._lengths = [song.length_at(sample_rate) for song in self.songs]
        self._ends = list(accumulate(self._count(length) for length in self._lengths))
        self._repitch = repitch
        self._voices = [row for row, source in enumerate(self.sources) if is_voice(source)]
        self._seed = seed

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, key: ExcerptKey) -> tuple[Tensor, Tensor]:
        """Read one excerpt.

        Args:
            key: Epoch and index of the excerpt.

        Returns:
            Rows `[R, C, L]` float32, the last one being the rest of the mixture, and a mask of the known
            sources `[S]` bool.

        Raises:
            AudioError: A file is damaged or missing.
        """
        epoch, index = key
        which, start = self.locate(index)
        song = self.songs[which]
        change = (
            self._repitch.draw(np.random.default_rng((self._seed, epoch, index))) if self._repitch else None
        )
        if change is None:
            stems = self._read(which, start, self.length)
        else:
            stems = self._read(which, start, change.source_length(self.length))
            stems = change.apply(stems, self.length, self.sample_rate, self._voices)
        return stems, song.known_sources(self.sources)

    def locate(self, index: int) -> tuple[int, int]:
        """Return the index of the song that an excerpt is cut from, and the sample at which it starts."""
        if not 0 <= index < len(self):
            raise IndexError(f"no excerpt {index}; they are numbered 0 to {len(self) - 1}")
        which = bisect_right(self._ends, index)
        number = index - (self._ends[which - 1] if which else 0)
        return which, self._fit(which, number * self._stride, self.length)

    def _count(self, length: int) -> int:
        return 1 + max(0, -(-(length - self.length) // self._stride))

    def _fit(self, which: int, start: int, length: int) -> int:
        """Move a start back so that `length` samples fit into the song, or to 0 if the song is too short."""
        return max(0, min(start, self._lengths[which] - length))

    def _read(self, which: int, start: int, length: int) -> Tensor:
        start = self._fit(which, start, length)
        return self.songs[which].stems(self.sources, self.sample_rate, self.audio_channels, start, length)


def is_voice(source: str) -> bool:
    """Whether the name of a stem suggests singing or speech."""
    words = re.split("[^a-z]+", source.lower())
    without = {"no", "non", "without", "minus"}.intersection(words)
    return not without and any(re.match("vocal|voice|vox|sing(ing|ers?)$|choir", word) for word in words)


class Order:
    """Assignment of excerpts to batches.

    An epoch goes through all excerpts in random order, repeatedly if needed, reshuffling each time. The order
    depends only on the seed and the epoch, so that an epoch can be entered at any step, and any number of
    processes train on the same batches: each takes its share of every batch, in order of rank.

    Args:
        count: Number of excerpts.
        batch_size: Number of excerpts in a batch, over all processes.
        seed: Seed of the order.
        steps: Number of batches in an epoch; None for as many full ones as the excerpts fill, at least one.
        rank: Index of this process.
        world: Number of processes.

    Raises:
        TrainingError: The batch cannot be divided among the processes, or there are no excerpts.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, steps: int | None = None, rank: int = 0, world: int = 1
    ) -> None:
        if batch_size < 1 or batch_size % world:
            raise TrainingError(
                f"batch_size {batch_size} cannot be divided among {world} processes; choose a multiple"
            )
        if count < 1:
            raise TrainingError("there are no excerpts to train on; add songs")
        self.count = count
        self.batch_size = batch_size
        self.steps = max(1, count // batch_size) if steps is None else steps
        self._seed = seed
        self._share = batch_size // world
        self._offset = rank * self._share

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[ExcerptKey]]:
        """Yield this process's share of each batch of an epoch, from step `start` on."""
        turn, order = -1, np.empty(0, int)
        for step in range(start, self.steps):
            first = step * self.batch_size + self._offset
            keys = []
            for position in range(first, first + self._share):
                if position // self.count != turn:
                    turn = position // self.count
                    order = np.random.default_rng((self._seed, epoch, turn)).permutation(self.count)
                keys.append((epoch, int(order[position % self.count])))
            yield keys
