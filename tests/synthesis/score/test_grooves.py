import numpy as np
import pytest

from hdemucs.synthesis.drums.kits import DRUMS
from hdemucs.synthesis.score.grooves import GROOVES, make_groove, play_groove
from hdemucs.synthesis.score.timing import Grid


@pytest.mark.parametrize("name", GROOVES)
def test_grooves_last_a_bar_and_use_known_drums(name):
    assert set(GROOVES[name]) <= set(DRUMS)
    assert len({len(pattern) for pattern in GROOVES[name].values()}) == 1
    assert all(set(pattern) <= set("Xxog?.") for pattern in GROOVES[name].values())


def test_drummers_end_sections_with_a_fill_and_start_them_with_a_crash():
    grid = Grid(120)
    groove = make_groove("rock", 16, np.random.default_rng(1))
    hits = play_groove(groove, grid, range(4, 8), 0.8, np.random.default_rng(1), fill=True, crash=True)
    assert all(4 * grid.bar - 0.05 < hit.start < 8 * grid.bar for hit in hits)
    assert any(hit.drum == "crash" and hit.start < 4 * grid.bar + 0.05 for hit in hits)
    assert all(0 < hit.velocity <= 1 for hit in hits)
    plain = play_groove(groove, grid, range(4, 8), 0.8, np.random.default_rng(1), fill=False, crash=False)
    last = 7 * grid.bar
    assert sorted(hit.drum for hit in hits if hit.start > last) != sorted(
        hit.drum for hit in plain if hit.start > last
    )


def test_quiet_sections_have_fewer_hits():
    grid = Grid(120)
    groove = make_groove("rock", 16, np.random.default_rng(1))
    quiet, loud = (
        play_groove(groove, grid, range(4), energy, np.random.default_rng(1), fill=False, crash=False)
        for energy in (0.2, 0.8)
    )
    assert len(quiet) < len(loud)
