import numpy as np
import pytest

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.mixing.production import CEILING
from hdemucs.synthesis.score.genres import GENRES
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.song import STEMS, make_song
from tests.synthesis.studio import furnish


@pytest.fixture
def studio(tmp_path, monkeypatch):
    return furnish(tmp_path, monkeypatch)


@pytest.mark.parametrize("held_out", [False, True])
def test_the_stems_of_a_song_add_up(studio, held_out):
    song = make_song(3, 6.0, held_out=held_out)
    assert set(song.stems) == set(STEMS)
    for stem in song.stems.values():
        assert stem.shape == (2, 6 * RATE)
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
    np.testing.assert_allclose(song.mixture, sum(song.stems.values()), atol=1e-6)
    assert np.abs(song.mixture).max() <= 10 ** (CEILING / 20) * 1.001
    genres = {genre.name: genre.held_out for genre in GENRES}
    assert genres[str(song.description["style"])] == held_out


@pytest.mark.slow
def test_a_seed_always_gives_the_same_song(studio):
    first, second, other = make_song(7, 2.0), make_song(7, 2.0), make_song(8, 2.0)
    np.testing.assert_array_equal(first.mixture, second.mixture)
    assert first.description == second.description
    assert not np.array_equal(first.mixture, other.mixture)


@pytest.mark.parametrize(
    ("sparse", "wanted"),
    [(False, (-16.366, -17.515, -17.078, -15.592)), (True, (-21.935, -12.173, -20.393, -19.684))],
)
def test_held_out_songs_never_change(studio, sparse, wanted):
    song = make_song(3, 6.0 if sparse else 2.0, held_out=True, sparse=sparse)
    levels = [10 * np.log10(np.mean(song.stems[name].astype(float) ** 2)) for name in STEMS]
    assert levels == pytest.approx(wanted, abs=0.01)


def test_songs_cannot_be_sung_without_a_voice(studio):
    with pytest.raises(SynthesisError, match="no voice is installed"):
        make_song(0, 2.0, voices=[])
