"""Excerpts: the right place of the right song, the same with any number of workers; and their order."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from julius.resample import resample_frac
from torch import Tensor
from torch.utils.data import DataLoader

from hdemucs import audio
from hdemucs.datasets import Song, TrainingSong
from hdemucs.errors import TrainingError
from hdemucs.training.data.excerpts import Excerpts, Order, is_voice
from hdemucs.training.data.repitch import Repitch
from tests.audio.signals import gather, noise

RATE = 8000
SOURCES = ["drums", "vocals"]


def write_song(folder: Path, length: int, rate: int = RATE, names=SOURCES, channels: int = 2) -> TrainingSong:
    """Write stems of noise in float, so that reading loses nothing."""
    folder.mkdir()
    for seed, name in enumerate(names):
        samples = noise(length, channels, seed=seed + length)
        soundfile.write(folder / f"{name}.wav", samples.T.numpy(), rate, subtype="FLOAT")
    return TrainingSong(Song(folder, {name: (folder / f"{name}.wav", 0) for name in names}), rate, length)


def unread_song(length: int, rate: int = RATE) -> TrainingSong:
    return TrainingSong(Song(Path("A"), {}), rate, length)


def excerpts(songs: list[TrainingSong], seconds: float = 0.5, stride: float = 0.25, **options) -> Excerpts:
    return Excerpts(
        songs, SOURCES, sample_rate=RATE, audio_channels=2, seconds=seconds, stride=stride, **options
    )


def read(song: TrainingSong, name: str) -> Tensor:
    return gather(audio.open(song.song.files[name][0]))


@pytest.fixture
def songs(tmp_path: Path) -> list[TrainingSong]:
    lengths = [3 * RATE + 17, RATE // 2, RATE // 4, 2 * RATE]
    return [write_song(tmp_path / str(number), length) for number, length in enumerate(lengths)]


# --- excerpts


def test_excerpts_start_every_stride_and_the_last_ends_with_the_song(songs: list[TrainingSong]):
    data = excerpts(songs)
    places = [data.locate(index) for index in range(len(data))]
    assert places[:3] == [(0, 0), (0, 2000), (0, 4000)]
    assert [start for song, start in places if song == 0][-2:] == [20000, 3 * RATE + 17 - 4000]
    assert [place for place in places if place[0] > 0] == [(1, 0), (2, 0), *((3, 2000 * k) for k in range(7))]
    for song, start in places:
        index = places.index((song, start))
        stems, known = data[0, index]
        assert stems.shape == (3, 2, 4000)
        assert stems.dtype == torch.float32
        assert known.tolist() == [True, True]
        for row, name in zip(stems, SOURCES, strict=False):
            expected = read(songs[song], name)[:, start : start + 4000]
            assert torch.equal(row[:, : expected.shape[-1]], expected)
            assert not row[:, expected.shape[-1] :].any()
    for index in (-1, len(data)):
        with pytest.raises(IndexError, match=f"no excerpt {index}"):
            data[0, index]


@settings(deadline=None)
@given(length=st.integers(1, 50_000), seconds=st.floats(0.1, 3), stride=st.floats(0.1, 3))
def test_excerpts_cover_the_song(length: int, seconds: float, stride: float):
    data = excerpts([unread_song(length)], seconds, stride)
    starts = [data.locate(index)[1] for index in range(len(data))]
    assert starts[0] == 0
    assert starts[-1] + data.length == max(length, data.length)
    strides = np.diff(starts)
    assert (strides > 0).all()
    assert (strides <= round(stride * RATE)).all()


@settings(deadline=None)
@given(rate=st.sampled_from([RATE, 11025, 16000, 44100]), length=st.integers(1, 100_000))
def test_the_length_at_another_rate_is_that_of_the_resampled_song(rate: int, length: int):
    assert unread_song(length, rate).length_at(RATE) == length * RATE // rate


@pytest.mark.parametrize("rate", [11025, 16000, 44100])
def test_a_resampled_excerpt_is_an_excerpt_of_the_resampled_song(tmp_path: Path, rate: int):
    song = write_song(tmp_path / "A", 2 * rate + 13, rate, channels=1)
    full_track = resample_frac(read(song, "drums"), rate, RATE)
    data = excerpts([song])
    for index in range(len(data)):
        _, start = data.locate(index)
        stems, _ = data[0, index]
        expected = full_track[:, start : start + data.length].expand(2, -1)
        torch.testing.assert_close(stems[0], expected, atol=1e-6, rtol=0)


def test_a_source_without_a_file_is_unknown_and_in_the_rest(tmp_path: Path):
    song = write_song(tmp_path / "A", RATE, names=["drums", "mixture"])
    stems, known = excerpts([song])[0, 1]
    assert known.tolist() == [True, False]
    mixture = read(song, "mixture")[:, 2000:6000]
    assert torch.equal(stems[0], read(song, "drums")[:, 2000:6000])
    assert not stems[1].any()
    assert torch.equal(stems[2], mixture - stems[0])
    torch.testing.assert_close(stems.sum(0), mixture)


def test_a_silent_stem_is_known(tmp_path: Path):
    song = write_song(tmp_path / "A", RATE, names=["drums"])
    declared = replace(song, song=replace(song.song, silent=frozenset({"vocals"})))
    stems, known = excerpts([declared])[0, 0]
    assert known.tolist() == [True, True]
    assert not stems[1:].any()


@dataclass(frozen=True)
class Decimation:
    """A change that keeps every other sample, and checks what it is asked for."""

    gain: float

    def source_length(self, length: int) -> int:
        return 2 * length

    def apply(self, stems: Tensor, length: int, sample_rate: int, voices: list[int]) -> Tensor:
        assert (sample_rate, list(voices)) == (RATE, [1])
        assert stems.shape[-1] == 2 * length
        return self.gain * stems[..., ::2]


class RandomDecimation(Repitch):
    def draw(self, rng: np.random.Generator) -> Decimation | None:  # type: ignore[override]
        return Decimation(rng.random()) if rng.random() < 0.5 else None


def test_changed_excerpts_are_made_from_longer_ones(songs: list[TrainingSong]):
    data = excerpts(songs, repitch=RandomDecimation(), seed=3)
    plain = excerpts(songs)
    gains = []
    for index in range(len(data)):
        song, start = data.locate(index)
        stems, _ = data[0, index]
        if torch.equal(stems, plain[0, index][0]):
            continue
        drums = torch.nn.functional.pad(read(songs[song], "drums"), (0, 8000))
        start = max(0, min(start, songs[song].length - 8000))
        expected = drums[:, start : start + 8000 : 2]
        gains.append(float(stems[0].norm() / expected.norm()))
        torch.testing.assert_close(stems[0], gains[-1] * expected)
    assert len(set(gains)) == len(gains) > 3


def test_random_changes_depend_on_seed_epoch_and_index_alone(songs: list[TrainingSong]):
    data, same, other = (excerpts(songs, repitch=RandomDecimation(), seed=seed) for seed in (3, 3, 4))
    indexes = range(len(data))
    first = [data[1, index][0] for index in indexes]
    backwards = [same[1, index][0] for index in reversed(indexes)][::-1]
    assert all(map(torch.equal, first, backwards))
    assert not all(torch.equal(stems, data[2, index][0]) for index, stems in enumerate(first))
    assert not all(torch.equal(stems, other[1, index][0]) for index, stems in enumerate(first))


def test_excerpts_are_the_same_with_workers(songs: list[TrainingSong]):
    data = excerpts(songs, repitch=RandomDecimation(), seed=3)
    batches = list(Order(len(data), 4, seed=1).batches(0))
    without, with_workers = (
        list(DataLoader(data, batch_sampler=batches, num_workers=workers)) for workers in (0, 2)
    )
    assert len(without) == len(with_workers) == len(data) // 4
    for (stems, known), (same_stems, same_known) in zip(without, with_workers, strict=True):
        assert stems.shape == (4, 3, 2, 4000)
        assert torch.equal(stems, same_stems)
        assert torch.equal(known, same_known)


def test_empty_excerpts_are_rejected(songs: list[TrainingSong]):
    with pytest.raises(TrainingError, match="make both longer"):
        excerpts(songs, stride=0)


def test_voices_are_told_by_name():
    voices = ["vocals", "Lead Vocal", "backing_voice", "singing", "singer-2", "choir", "vox"]
    assert all(map(is_voice, voices))
    assert not any(map(is_voice, ["drums", "other", "no_vocals", "single_coil", "no voice"]))


# --- order

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.none() | st.integers(1, 8))


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 99), epoch=st.integers(0, 5))
def test_processes_share_each_batch(shape: tuple[int, int, int, int | None], seed: int, epoch: int):
    length, share, world, steps = shape
    size = share * world
    alone = Order(length, size, seed, steps)
    batches = list(alone.batches(epoch))
    assert len(batches) == alone.steps == (steps or max(1, length // size))
    ranks = [list(Order(length, size, seed, steps, rank, world).batches(epoch)) for rank in range(world)]
    assert [[key for rank in ranks for key in rank[step]] for step in range(alone.steps)] == batches
    assert all(key[0] == epoch and 0 <= key[1] < length for batch in batches for key in batch)


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 99), start=st.integers(0, 50))
def test_an_epoch_can_be_entered_at_any_step(shape, seed: int, start: int):
    length, share, world, steps = shape
    order = Order(length, share * world, seed, steps, 0, world)
    assert list(order.batches(2, start)) == list(order.batches(2))[start:]


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_every_excerpt_comes_once_before_any_comes_again(shape, seed: int):
    length, share, world, steps = shape
    batches = Order(length, share * world, seed, steps).batches(0)
    indexes = [index for batch in batches for _, index in batch]
    for turn in range(0, len(indexes), length):
        once = indexes[turn : turn + length]
        assert len(set(once)) == len(once)


def test_every_epoch_and_every_seed_has_its_own_order():
    order = Order(100, 10, seed=0)
    first, second = ([index for batch in order.batches(epoch) for _, index in batch] for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert first != [index for batch in Order(100, 10, seed=1).batches(0) for _, index in batch]


def test_impossible_orders_are_rejected():
    with pytest.raises(TrainingError, match="batch_size 5 cannot be divided among 2 processes"):
        Order(10, 5, 0, world=2)
    with pytest.raises(TrainingError, match="no excerpts"):
        Order(0, 5, 0)
