import pytest

from hdemucs.synthesis.instruments.families import FAMILIES
from hdemucs.synthesis.score.accompaniment import ROLES
from hdemucs.synthesis.score.basslines import STYLES
from hdemucs.synthesis.score.genres import GENRES
from hdemucs.synthesis.score.grooves import GROOVES
from hdemucs.synthesis.score.harmony import PROGRESSIONS


@pytest.mark.parametrize("genre", GENRES, ids=lambda genre: genre.name)
def test_genres_refer_to_what_exists(genre):
    assert set(genre.progressions) <= set(PROGRESSIONS)
    assert set(genre.grooves) <= set(GROOVES)
    assert set(genre.bass) <= set(STYLES)
    assert set(genre.basses) <= set(FAMILIES)
    assert {layer.role for layer in genre.layers} <= {*ROLES, "lead"}
    assert {family for layer in genre.layers for family in layer.families} <= set(FAMILIES)
    assert set(genre.kits) <= {"acoustic", "electronic"}
    assert set(genre.singing) <= {"sung", "rapped", "spoken"}
    assert 55 <= genre.tempo[0] <= genre.tempo[1] <= 180


def test_everything_in_the_tables_is_used_by_a_genre():
    assert set(GROOVES) == {name for genre in GENRES for name in genre.grooves}
    assert set(PROGRESSIONS) == {name for genre in GENRES for name in genre.progressions}
    assert set(STYLES) == {name for genre in GENRES for name in genre.bass}


@pytest.mark.parametrize("held_out", [False, True])
def test_there_are_genres_for_training_and_for_evaluation(held_out):
    assert sum(genre.held_out == held_out for genre in GENRES) >= 4
