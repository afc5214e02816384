"""Live streams: the stems of `separate`, each block as soon as its input is there."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hdemucs.errors import AudioError
from hdemucs.separator import Separator
from tests.audio.signals import noise, tones
from tests.conftest import TINY_RATE, tiny_network

SECONDS = 5
SEGMENT = 1.0


@pytest.fixture(scope="module")
def separator() -> Separator:
    return Separator(tiny_network(), stems=["drums", "vocals"])


@pytest.fixture(scope="module")
def mix() -> Tensor:
    return tones(TINY_RATE, SECONDS) + noise(SECONDS * TINY_RATE)


def joined(blocks: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    every = list(blocks)
    return {name: torch.cat([block[name] for block in every], -1) for name in every[0]}


@pytest.mark.parametrize("length", [37, 800, 10**6])
def test_stems_are_those_of_the_whole_track(separator: Separator, mix: Tensor, length: int) -> None:
    expected = separator.separate(mix, TINY_RATE)
    stems = joined(separator.stream(mix.split(length, -1), TINY_RATE))
    assert list(stems) == list(expected) == ["drums", "vocals"]
    for name, stem in stems.items():
        assert stem.shape == mix.shape
        # What the level that is not known costs.
        assert (stem - expected[name]).norm() < 1e-3 * expected[name].norm()


@pytest.mark.parametrize(("rate", "wait"), [(TINY_RATE, 0.0), (2 * TINY_RATE, 0.1), (44100, 0.2)])
def test_a_block_is_one_segment_late(rate: int, wait: float, separator: Separator) -> None:
    """When a sample comes out, no more than a segment has been read beyond it."""
    step = rate // 50
    read = written = 0.0
    delays = []

    def recorder() -> Iterator[np.ndarray]:
        nonlocal read
        for block in noise(SECONDS * rate).split(step, -1):
            read += step / rate
            yield block.numpy()

    for block in separator.stream(recorder(), rate):
        delays.append(read - written)
        written += block["drums"].shape[-1] / TINY_RATE
    assert written == pytest.approx(SECONDS)
    assert max(delays) <= SEGMENT + step / rate + wait + 1e-6


def test_jobs_and_batches_do_not_delay_a_stream(mix: Tensor) -> None:
    eager = Separator(tiny_network(), jobs=3, batch_size=4)
    read = 0

    def recorder() -> Iterator[Tensor]:
        nonlocal read
        for block in mix.split(100, -1):
            read += 100
            yield block

    next(eager.stream(recorder(), TINY_RATE))
    assert read <= SEGMENT * TINY_RATE + 100


def test_mono_and_integers_are_taken(separator: Separator) -> None:
    samples = (noise(TINY_RATE)[0] * 2**15).to(torch.int16)
    stems = joined(separator.stream([samples], TINY_RATE))
    expected = joined(separator.stream([samples.float().expand(2, -1) / 2**15], TINY_RATE))
    assert all(torch.equal(stems[name], expected[name]) for name in expected)


def test_an_empty_stream_has_no_stems(separator: Separator) -> None:
    assert list(separator.stream([], TINY_RATE)) == []
    assert list(separator.stream([torch.empty(2, 0)], TINY_RATE)) == []


@pytest.mark.parametrize(
    ("block", "rate"),
    [
        (torch.full((2, 100), torch.nan), TINY_RATE),
        (torch.zeros(2, 2, 100), TINY_RATE),
        (np.array(["a"]), TINY_RATE),
        (torch.zeros(2, 100), 0),
        (torch.zeros(2, 100), None),
    ],
)
def test_what_is_not_audio_is_refused(separator: Separator, block: Any, rate: Any) -> None:
    with pytest.raises(AudioError, match="<stream>"):
        list(separator.stream([block], rate))
