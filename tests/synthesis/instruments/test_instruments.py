"""The contract of instruments, for every family and preset in the table: a new one needs no new test."""

import numpy as np
import pytest

from hdemucs.synthesis.instruments.families import FAMILIES, choose_instrument
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound
from tests.synthesis.tiny import tiny_sounds

pytestmark = pytest.mark.usefixtures("tiny_fluidsynth")
PRESETS = list(dict.fromkeys(preset for family in FAMILIES.values() for preset in family.presets))
A2 = 45  # 110 Hz
AT_THE_EDGES = [
    Note(0, 0.05, 60, 0.8),
    Note(0.1, 0, 60, 0.8),
    Note(0.1, 0.1, 60.4, 0),
    Note(0.1, 0.1, 20, 1),
    Note(0.1, 0.1, 120, 1),
    Note(0.2, 9, 64, 1),
    Note(0.25 - 1 / RATE, 0.1, 60, 1),
]
OUTSIDE = [Note(-0.1, 1, A2, 1), Note(0.25, 1, A2, 1), Note(9, 1, A2, 1)]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> list[Sound]:
    return tiny_sounds(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> list[Sound]:
    return tiny_sounds(tmp_path_factory.mktemp("held-out"), held_out=True)


@pytest.fixture(params=PRESETS, ids=repr)
def preset(request):
    return request.param


def test_nothing_to_play_is_silence(preset, sounds):
    rng = np.random.default_rng(0)
    player = preset.draw(sounds, rng)
    for notes in ([], OUTSIDE):
        audio = player.play(notes, 0.25, rng)
        assert audio.shape == (2, round(0.25 * RATE))
        assert audio.dtype == np.float32
        assert not audio.any()


def test_notes_at_the_edges_are_played(preset, sounds):
    rng = np.random.default_rng(0)
    audio = preset.draw(sounds, rng).play(AT_THE_EDGES, 0.25, rng)
    assert audio.shape == (2, round(0.25 * RATE))
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert audio.any()


def test_a_seed_gives_one_instrument_and_one_take(preset, sounds):
    takes = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        player = preset.draw(sounds, rng)
        takes.append((player.label, player.play([Note(0.05, 0.1, A2, 0.7)], 0.25, rng), rng.random()))
    assert takes[0][0] == takes[1][0]
    np.testing.assert_array_equal(takes[0][1], takes[1][1])
    assert takes[0][2] == takes[1][2]


def test_a_held_note_is_in_tune_and_ends(preset, sounds):
    rng = np.random.default_rng(1)
    audio = preset.draw(sounds, rng).play([Note(0.1, 0.5, A2, 0.8)], 4, rng)
    assert not audio[:, : round(0.09 * RATE)].any()
    assert 1e-3 < np.abs(audio).max() < 4
    assert np.abs(audio[:, -RATE // 2 :]).max() < 1e-3 * np.abs(audio).max()
    spectrum = np.abs(np.fft.rfft(audio.sum(axis=0)))
    strongest = np.argmax(spectrum) / 4
    assert min(abs(strongest / (110 * harmonic) - 1) for harmonic in (0.5, 1, 2, 3, 4)) < 0.03


@pytest.mark.parametrize("family", FAMILIES)
def test_families_give_instruments_with_their_range_and_drive(family, sounds):
    row = FAMILIES[family]
    for seed in range(8):
        instrument = choose_instrument(family, sounds, np.random.default_rng(seed))
        assert instrument.name == f"{family} ({instrument.player.label})"
        assert instrument.low == row.low
        if row.drive is None:
            assert instrument.drive is None
        else:
            low, high = row.drive
            assert instrument.drive is not None
            assert low <= instrument.drive <= high
    audio = instrument.play([Note(0, 0.2, 50, 0.8)], 0.25, np.random.default_rng(0))
    assert audio.shape == (2, round(0.25 * RATE))
    assert audio.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_held_out_songs_use_only_presets_meant_for_them(family, held_out):
    rng = np.random.default_rng(0)
    drawn = {type(choose_instrument(family, held_out, rng).player) for _ in range(20)}
    meant = {type(preset.draw(held_out, rng)) for preset in FAMILIES[family].presets if preset.in_held_out}
    assert drawn <= meant
