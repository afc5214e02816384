import numpy as np
import pytest

from hdemucs.synthesis.drums.drum_machine import synthesise_kit
from hdemucs.synthesis.drums.drummer import choose_kit, play_kit, tune_kit
from hdemucs.synthesis.drums.kits import DRUMS
from hdemucs.synthesis.score.grooves import Hit
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.sounds import choose_sounds
from tests.synthesis.studio import furnish


@pytest.fixture
def studio(tmp_path, monkeypatch):
    return furnish(tmp_path, monkeypatch)


def test_synthesised_kits_have_every_drum():
    kit = synthesise_kit(np.random.default_rng(0))
    assert set(kit) == set(DRUMS)
    assert all(np.isfinite(stroke).all() and np.abs(stroke).max() <= 1.001 for (stroke,) in kit.values())


@pytest.mark.parametrize("character", ["acoustic", "electronic"])
def test_a_chosen_kit_has_every_wanted_drum(studio, character):
    wanted = {"kick", "snare", "closed", "cowbell", "low conga"}
    for seed in range(4):
        kit, _ = choose_kit(character, wanted, choose_sounds(studio, False), np.random.default_rng(seed))
        assert set(kit) == wanted


def test_strokes_sound_where_the_hits_are_and_hard_ones_are_louder():
    rng = np.random.default_rng(0)
    kit = tune_kit(synthesise_kit(rng), rng)
    hits = [Hit(0.5, "kick", 0.3), Hit(1.5, "kick", 0.95), Hit(2.6, "kick", 1), Hit(-1, "kick", 1)]
    audio = np.abs(play_kit(hits, kit, 2.5, rng)).max(axis=0)
    assert not audio[: round(0.49 * RATE)].any()
    assert audio[round(1.45 * RATE) :].max() > 2 * audio[: round(1.4 * RATE)].max()


def test_a_closing_hi_hat_chokes_an_open_one():
    rng = np.random.default_rng(0)
    kit = tune_kit({drum: synthesise_kit(rng)[drum] for drum in ("open", "closed")}, rng)
    ringing = play_kit([Hit(0, "open", 1)], kit, 1, np.random.default_rng(1))
    choked = play_kit([Hit(0, "open", 1), Hit(0.1, "closed", 0.05)], kit, 1, np.random.default_rng(1))
    late = slice(round(0.25 * RATE), round(0.5 * RATE))
    assert np.abs(choked[:, late]).max() < 0.3 * np.abs(ringing[:, late]).max()
