import numpy as np
import pytest

from hdemucs.synthesis.mixing.effects import Band, equalise
from hdemucs.synthesis.mixing.production import CEILING
from hdemucs.synthesis.mixing.release import code_mp3, push, release, spill
from hdemucs.synthesis.score.notes import RATE

LIMIT = 10 ** (CEILING / 20) * 1.0001


def noise_stems(seconds: float = 0.5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    size = (2, round(seconds * RATE))
    return {name: (0.1 * rng.standard_normal(size)).astype(np.float32) for name in ("drums", "bass")} | {
        "vocals": np.zeros(size, np.float32)
    }


def test_released_stems_keep_silence_and_the_ceiling():
    seen = set()
    for seed in range(24):
        stems, done = release(noise_stems(0.1), np.random.default_rng(seed))
        seen |= {name.split()[0] for name in done}
        assert all(np.abs(stem).max() <= LIMIT for stem in (*stems.values(), sum(stems.values())))
        assert not stems["vocals"].any()
        assert all(stem.shape == (2, RATE // 10) and stem.dtype == np.float32 for stem in stems.values())
    assert {"width", "crushed", "quiet"} <= seen


def test_a_limiter_treats_all_stems_alike():
    stems = noise_stems()
    stems["bass"] = stems["drums"] * np.float32(0.5)
    pushed = push(stems, 12, 0.005)
    np.testing.assert_allclose(pushed["bass"], 0.5 * pushed["drums"], atol=1e-5)
    loudest = np.abs(sum(pushed.values())).max()
    assert 0.8 * LIMIT < loudest <= LIMIT


@pytest.mark.parametrize("compression", [0.3, 0.75])
def test_coded_stems_keep_their_time(compression):
    stem = equalise(noise_stems()["drums"], [Band("low pass", 1500)])
    coded = code_mp3({"drums": stem}, compression)["drums"]
    assert coded.shape == stem.shape
    assert 0.9 < np.corrcoef(stem[0], coded[0])[0, 1] < 1


def test_what_other_microphones_hear_stays_in_the_stem():
    stems = noise_stems()
    spilled = spill(stems, np.random.default_rng(0))
    assert not spilled["vocals"].any()
    assert 0.9 < np.corrcoef(stems["drums"][0], spilled["drums"][0])[0, 1] < 0.9999
