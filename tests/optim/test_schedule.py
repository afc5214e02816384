"""Learning-rate schedules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdemucs.optim.schedule import LinearDecay


def test_the_rate_falls_linearly_to_zero_at_the_end() -> None:
    rates = [LinearDecay(0.02, steps=8, decay=0.5)(step) for step in range(9)]
    assert rates == pytest.approx([0.02, 0.02, 0.02, 0.02, 0.02, 0.015, 0.01, 0.005, 0])


@given(steps=st.integers(1, 1000), step=st.integers(0, 1000))
def test_without_decay_the_rate_is_constant(steps: int, step: int) -> None:
    assert LinearDecay(0.3, steps)(step) == 0.3
