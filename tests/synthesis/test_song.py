import numpy as np
import pytest

from hdemucs.errors import HDemucsError
from hdemucs.synthesis.instruments.base import FAMILIES, choose_instrument
from hdemucs.synthesis.instruments.synthesizer import PATCHES, draw_patch, play_patch
from hdemucs.synthesis.mixing.production import CEILING
from hdemucs.synthesis.score.genres import GENRES
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.song import STEMS, make_song
from hdemucs.synthesis.sounds import choose_sounds
from tests.synthesis.studio import furnish


@pytest.fixture
def studio(tmp_path, monkeypatch):
    return furnish(tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", PATCHES)
def test_patches_play_in_tune_and_end(kind):
    rng = np.random.default_rng(1)
    audio = play_patch(draw_patch(kind, rng), [Note(0.1, 0.5, 45, 0.8), Note(9, 1, 60, 1)], 4, rng)
    assert audio.shape == (2, 4 * RATE)
    assert not audio[:, : round(0.09 * RATE)].any()
    spectrum = np.abs(np.fft.rfft(audio.sum(axis=0)))
    peak = np.argmax(spectrum) / 4
    assert min(abs(peak / (110 * harmonic) - 1) for harmonic in (0.5, 1, 2, 3, 4)) < 0.03
    assert np.abs(audio[:, -RATE // 2 :]).max() < 0.1 * np.abs(audio).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_played(studio, family):
    rng = np.random.default_rng(0)
    instrument = choose_instrument(family, choose_sounds(studio, False), rng)
    audio = instrument.play([Note(0, 0.3, 50, 0.8)], 0.5, rng)
    assert audio.shape == (2, RATE // 2)
    assert audio.any()


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


def test_a_seed_always_gives_the_same_song(studio):
    first, second, other = make_song(7, 2.0), make_song(7, 2.0), make_song(8, 2.0)
    np.testing.assert_array_equal(first.mixture, second.mixture)
    assert first.description == second.description
    assert not np.array_equal(first.mixture, other.mixture)


def test_songs_cannot_be_sung_without_a_voice(studio):
    with pytest.raises(HDemucsError, match="no voice is installed"):
        make_song(0, 2.0, voices=[])
