import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdemucs.synthesis.score.timing import Grid


@given(st.floats(60, 180), st.floats(0, 0.6), st.sampled_from([1, 2]))
def test_swing_delays_only_the_second_note_of_each_pair(tempo, swing, swung):
    grid = Grid(tempo, swing=swing, swung=swung)
    times = [grid.time(3, step) for step in range(17)]
    assert np.all(np.diff(times) > 0)
    assert times[0] == pytest.approx(3 * grid.bar)
    assert times[16] == pytest.approx(4 * grid.bar)
    assert times[2 * swung] == pytest.approx(3 * grid.bar + 2 * swung * grid.step)
    assert times[swung] == pytest.approx(3 * grid.bar + swung * grid.step * (1 + swing))


def test_the_downbeat_has_the_greatest_weight():
    grid = Grid(120)
    weights = [grid.weight(step) for step in range(16)]
    assert max(weights) == weights[0]
    assert weights[4] > weights[2] > weights[1]
