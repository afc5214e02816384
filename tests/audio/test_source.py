"""Blocks, and sources in memory."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hdemucs.audio import from_samples
from hdemucs.audio.blocks import BLOCK_LENGTH, regroup
from hdemucs.errors import AudioError
from tests.audio.signals import gather, noise


@given(cuts=st.lists(st.integers(0, 40), max_size=20), length=st.integers(1, 50))
def test_regroup_keeps_every_sample_in_order(cuts: list[int], length: int):
    track = torch.arange(sum(cuts), dtype=torch.float32).repeat(2, 1)
    blocks = list(regroup(track.split(cuts, dim=-1), length))
    assert [block.shape[-1] for block in blocks] == [
        min(length, sum(cuts) - start) for start in range(0, sum(cuts), length)
    ]
    if blocks:
        assert torch.equal(torch.cat(blocks, -1), track)


def test_regroup_refuses_empty_blocks():
    with pytest.raises(ValueError, match="at least 1 sample"):
        regroup([], 0)


@given(length=st.integers(1, 300), channels=st.integers(1, 32), size=st.integers(1, 400))
def test_samples_come_back_twice(length: int, channels: int, size: int):
    samples = noise(length, channels)
    source = from_samples(samples, 44100)
    assert (source.channels, source.length, source.streams, source.tags) == (channels, length, 1, {})
    for _ in range(2):
        blocks = list(source.blocks(size))
        assert all(1 <= block.shape[-1] <= size for block in blocks)
        assert torch.equal(torch.cat(blocks, -1), samples)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([-32768, 0, 16384], np.int16), [-1, 0, 0.5]),
        (np.array([-32768, 0, 16384], ">i2"), [-1, 0, 0.5]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        (np.array([-128, 0, 64], np.int8), [-1, 0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-1, 0, 1.5], np.float64), [-1, 0, 1.5]),
        (np.array([-1, 0, 1.5], np.float16), [-1, 0, 1.5]),
        (torch.tensor([-32768, 0, 16384], dtype=torch.int16), [-1, 0, 0.5]),
        (torch.tensor([-1, 0, 1.5], dtype=torch.bfloat16, requires_grad=True), [-1, 0, 1.5]),
        ([-1.0, 0.0, 1.5], [-1, 0, 1.5]),
        (np.array([1.5, 0, -1], np.float32)[::-1], [-1, 0, 1.5]),
    ],
)
def test_every_type_is_scaled_to_float(samples: np.ndarray | Tensor, expected: list[float]):
    block = gather(from_samples(samples, 8000))
    assert block.dtype == torch.float32
    assert block.tolist() == [expected]
    assert not block.requires_grad


def test_a_block_can_be_changed_without_changing_the_samples():
    samples = np.ones((2, 10), np.float32)
    for block in from_samples(samples, 8000).blocks():
        block.zero_()
    assert (samples == 1).all()


def test_an_empty_array_has_no_blocks():
    assert list(from_samples(np.zeros((2, 0)), 44100).blocks()) == []


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((44100, 2)), 44100, "mine.*44100 channels.*transpose"),
        (np.zeros((2, 3, 4)), 44100, r"mine.*\[channels, samples\].*\[2, 3, 4\]"),
        (np.zeros(()), 44100, r"mine.*shape"),
        (np.zeros((0, 10)), 44100, r"mine.*shape"),
        (np.zeros((2, 10), np.int64), 44100, "mine.*int64.*float32"),
        (np.zeros((2, 10), np.complex64), 44100, "mine.*complex64.*float32"),
        (np.zeros((2, 10), bool), 44100, "mine.*bool.*float32"),
        (np.zeros((2, 10)), 0, "mine.*sample rate"),
        (np.zeros((2, 10)), 44100.5, "mine.*sample rate"),
        (np.zeros((2, 10)), 3, "mine has a sample rate of 3 Hz.*from 1000 to 768000"),
        (np.zeros((2, 10)), 800_000, "mine.*sample rate"),
        (np.zeros((2, 10)), float("nan"), "mine.*sample rate of nan"),
        (np.zeros((2, 10)), "fast", "mine.*sample rate of fast"),
    ],
)
def test_what_cannot_be_audio_is_refused(samples: np.ndarray, rate: Any, message: str):
    with pytest.raises(AudioError, match=message) as caught:
        from_samples(samples, rate, "mine")
    assert "\n" not in str(caught.value)


def test_many_channels_are_accepted_if_there_are_more_samples():
    assert from_samples(np.zeros((64, BLOCK_LENGTH)), 44100).channels == 64
