"""Excerpts of songs, read from disk as they are needed, and the order that they are trained on.

Letters in shapes: S sources, R = S + 1 rows, C channels, L samples.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from hdemucs.datasets.training_songs import TrainingSong
from hdemucs.errors import TrainingError
from hdemucs.training.data.repitch import Repitch

Key = tuple[int, int]
"""Epoch, and index of an excerpt. What is random in the excerpt depends on both, and on nothing else."""


class Excerpts(Dataset[tuple[Tensor, Tensor]]):
    """Excerpts of all songs: one starts every `stride` seconds, so longer songs have more of them.

    The last excerpt of a song is moved back to end with it; a song that is shorter than an excerpt is one,
    followed by zeros.

    Args:
        songs: at least one.
        sources: names of the first rows.
        sample_rate: in Hz; songs of another one are resampled.
        audio_channels: songs of another number are remixed.
        seconds: length of an excerpt.
        stride: seconds from one start to the next; together with a random shift as long as it (see
            `hdemucs.training.data.augment`) any place of a song is as likely to be the start.
        repitch: change of tempo and pitch; None for none.
        seed: of what is random.
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
            raise TrainingError(f"excerpts of {seconds} s every {stride} s have no samples; make both longer")
        self._lengths = [song.length_at(sample_rate) for song in self.songs]
        self._ends = list(accumulate(self._count(length) for length in self._lengths))
        self._repitch = repitch
        self._voices = [row for row, source in enumerate(self.sources) if is_voice(source)]
        self._seed = seed

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        """One excerpt.

        Args:
            key: epoch, and index from 0 to the length.

        Returns:
            Rows `[R, C, L]` float32, the last one being what of the mixture is in no stem; and which sources
            are known, `[S]` bool.

        Raises:
            AudioError: a file is damaged or gone.
        """
        epoch, index = key
        which, start = self.place(index)
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

    def place(self, index: int) -> tuple[int, int]:
        """Which song an excerpt is of, and its first frame there."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no excerpt {index}, only 0 to {len(self) - 1}")
        which = bisect_right(self._ends, index)
        number = index - (self._ends[which - 1] if which else 0)
        return which, self._inside(which, number * self._stride, self.length)

    def _count(self, length: int) -> int:
        return 1 + max(0, -(-(length - self.length) // self._stride))

    def _inside(self, which: int, start: int, length: int) -> int:
        """The start, moved back as far as is needed, and possible, for `length` to be in the song."""
        return max(0, min(start, self._lengths[which] - length))

    def _read(self, which: int, start: int, length: int) -> Tensor:
        start = self._inside(which, start, length)
        return self.songs[which].stems(self.sources, self.sample_rate, self.audio_channels, start, length)


def is_voice(source: str) -> bool:
    """Whether a stem is sung or spoken, told by its name."""
    words = re.split("[^a-z]+", source.lower())
    without = {"no", "non", "without", "minus"}.intersection(words)
    return not without and any(re.match("vocal|voice|vox|sing(ing|ers?)$|choir", word) for word in words)


class Order:
    """Which excerpts make which batch.

    An epoch goes through the excerpts in a random order, as often as it takes, shuffled anew each time. It
    depends on the seed and the number of the epoch alone, so that it can be entered at any step, and all
    processes together have the batches of a single one: each takes its part of every batch, in order of rank.

    Args:
        length: number of excerpts.
        batch_size: of all processes together.
        seed: of the order.
        steps: batches in an epoch; None for as many whole ones as there are, at least one.
        rank: of this process.
        world: how many processes there are.

    Raises:
        TrainingError: the batch cannot be divided among the processes, or there are no excerpts.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, steps: int | None = None, rank: int = 0, world: int = 1
    ) -> None:
        if batch_size < 1 or batch_size % world:
            raise TrainingError(
                f"a batch_size of {batch_size} cannot be divided among {world} processes; choose a multiple"
            )
        if length < 1:
            raise TrainingError("there are no excerpts to be trained on; add songs")
        self.length = length
        self.batch_size = batch_size
        self.steps = max(1, length // batch_size) if steps is None else steps
        self._seed = seed
        self._share = batch_size // world
        self._offset = rank * self._share

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[Key]]:
        """This process' part of each batch of an epoch, from step `start` on."""
        turn, order = -1, np.empty(0, int)
        for step in range(start, self.steps):
            first = step * self.batch_size + self._offset
            keys = []
            for position in range(first, first + self._share):
                if position // self.length != turn:
                    turn = position // self.length
                    order = np.random.default_rng((self._seed, epoch, turn)).permutation(self.length)
                keys.append((epoch, int(order[position % self.length])))
            yield keys
