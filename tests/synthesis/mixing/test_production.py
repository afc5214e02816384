import numpy as np
import pytest

from hdemucs.synthesis.mixing.effects import loudness
from hdemucs.synthesis.mixing.production import CEILING, balance, duck, master
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.song import STEMS


def noise_stems(seconds: float = 4.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: (0.1 * rng.standard_normal((2, round(seconds * RATE)))).astype(np.float32) for name in STEMS
    }


def test_the_mix_bus_treats_all_stems_alike():
    stems = noise_stems()
    stems["bass"] = stems["drums"] * 0.5
    stems["vocals"] = 0 * stems["vocals"]
    mastered = master(stems, np.random.default_rng(3))
    np.testing.assert_allclose(mastered["bass"], 0.5 * mastered["drums"], atol=1e-5)
    assert not mastered["vocals"].any()
    limit = 10 ** (CEILING / 20) * 1.0001
    assert np.abs(np.sum(list(mastered.values()), axis=0)).max() <= limit
    assert all(np.abs(stem).max() <= limit for stem in mastered.values())


def test_balancing_sets_loudness_and_keeps_silence():
    stems = noise_stems() | {"other": np.zeros((2, 4 * RATE), np.float32)}
    levels = {name: loudness(stem) for name, stem in balance(stems, np.random.default_rng(0)).items()}
    assert all(-35 < levels[name] < -15 for name in ("drums", "bass", "vocals"))
    assert levels["other"] == -120


def test_ducking_follows_the_kick():
    audio = duck(np.ones((2, RATE), np.float32), [0.5, 2.0], 12, 0.2)
    assert audio[0, round(0.45 * RATE)] == 1
    assert audio[0, round(0.5 * RATE) + 1] == pytest.approx(10 ** (-12 / 20), rel=0.01)
    assert audio[0, round(0.75 * RATE)] == 1
