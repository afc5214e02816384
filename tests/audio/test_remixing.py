"""Numbers of channels: the table of downmixes, and what must never be lost."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hdemucs.audio import remix
from hdemucs.audio.remixing import stereo_weights
from hdemucs.errors import AudioError
from tests.audio.signals import noise

S = math.sqrt(0.5)
# The speakers of each WAV layout: front left, front right, centre, LFE, back or side.
TABLE = {
    3: ([1, 0, S], [0, 1, S]),
    4: ([1, 0, S, 0], [0, 1, 0, S]),
    5: ([1, 0, S, S, 0], [0, 1, S, 0, S]),
    6: ([1, 0, S, 0, S, 0], [0, 1, S, 0, 0, S]),
    7: ([1, 0, S, 0, S, S, 0], [0, 1, S, 0, S, 0, S]),
    8: ([1, 0, S, 0, S, 0, S, 0], [0, 1, S, 0, 0, S, 0, S]),
    9: ([1, 0] * 4 + [1], [0, 1] * 4 + [0]),
    10: ([1, 0] * 5, [0, 1] * 5),
}


@pytest.mark.parametrize("channels", TABLE)
def test_the_stereo_downmix_of_each_layout(channels: int):
    rows = torch.tensor(TABLE[channels])
    expected = rows / rows.sum(dim=1, keepdim=True)
    # One channel at a time, which gives a column of the table.
    heard = torch.stack([remix(torch.eye(channels)[:, k : k + 1], 2)[:, 0] for k in range(channels)], dim=1)
    torch.testing.assert_close(heard, expected)


@given(channels=st.integers(3, 40))
def test_stereo_cannot_clip_and_is_balanced(channels: int):
    torch.testing.assert_close(stereo_weights(channels).abs().sum(dim=1), torch.ones(2))
    loudest = remix(torch.ones(channels, 5), 2)
    torch.testing.assert_close(loudest, torch.ones(2, 5))


@given(channels=st.integers(1, 12))
def test_mono_is_the_mean_and_repeats(channels: int):
    block = noise(50, channels)
    mono = remix(block, 1)
    torch.testing.assert_close(mono, block.mean(dim=0, keepdim=True))
    assert torch.equal(remix(mono, channels), mono.expand(channels, 50))


def test_an_equal_number_returns_the_block_itself():
    block = noise(10, 6)
    assert remix(block, 6) is block


@pytest.mark.parametrize(("have", "want"), [(2, 3), (6, 4), (3, 6), (2, 0)])
def test_what_makes_no_sense_is_refused(have: int, want: int):
    with pytest.raises(AudioError, match=f"{have} channels cannot be turned into {want}"):
        remix(torch.zeros(have, 4), want)
