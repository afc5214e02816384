import numpy as np
import pytest

from hdemucs.synthesis.mixing.character import TREATMENTS, gate, lo_fi, treat_drums
from hdemucs.synthesis.score.notes import RATE


def strokes(seconds: float = 1.0) -> np.ndarray:
    """Decaying noise every quarter of a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal((2, len(time)))
    return (0.2 * noise * np.exp(-(time % 0.25) / 0.02)).astype(np.float32)


@pytest.mark.parametrize("name", [name for name, (_, treatment) in TREATMENTS.items() if treatment])
def test_treatments_change_drums_but_not_silence(name):
    treatment = TREATMENTS[name][1]
    assert treatment is not None
    drums = strokes()
    treated = treatment(drums, np.random.default_rng(1))
    assert treated.shape == drums.shape
    assert treated.dtype == np.float32
    assert np.isfinite(treated).all()
    assert np.abs(treated - drums).max() > 0.02
    assert not treatment(0 * drums, np.random.default_rng(1)).any()


def test_many_songs_have_clean_drums():
    names = [treat_drums(np.zeros((2, 64), np.float32), np.random.default_rng(n))[1] for n in range(60)]
    assert 10 < names.count("clean") < 40
    assert len(set(names)) > 5


def test_a_gate_closes_after_its_key():
    key = np.zeros((2, RATE), np.float32)
    key[:, : RATE // 10] = 0.5
    gated = gate(np.ones((2, RATE), np.float32), key, 10, 0.1, 0.05)
    assert gated[0, round(0.15 * RATE)] == 1
    assert not gated[:, round(0.27 * RATE) :].any()


def test_an_old_sampler_is_mono_and_has_few_levels():
    sampled = lo_fi(strokes(), 2, 6)
    np.testing.assert_array_equal(sampled[0], sampled[1])
    assert len(np.unique(sampled[0])) <= 64
