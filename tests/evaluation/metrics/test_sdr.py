"""SDR and SI-SDR against their formulas, known answers and invariances."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hdemucs.evaluation import sdr, si_sdr
from hdemucs.evaluation.metrics import signals
from tests.evaluation.metrics.signals import noise, separated

METRICS = pytest.mark.parametrize("metric", [sdr, si_sdr])
SHAPES = {"sources": st.integers(1, 6), "channels": st.integers(1, 2), "length": st.integers(1, 400)}


@settings(deadline=None)
@given(**SHAPES)
def test_sdr_is_the_formula_of_the_mdx_challenge(sources: int, channels: int, length: int):
    references, estimates = noise(sources, channels, length), noise(sources, channels, length, seed=1)
    scores = sdr(references, estimates)
    assert scores.dtype == torch.float64
    assert scores.shape == (sources,)
    for score, s, e in zip(scores, references.double(), estimates.double(), strict=True):
        expected = 10 * math.log10(((s**2).sum().item() + 1e-7) / (((s - e) ** 2).sum().item() + 1e-7))
        assert score.item() == pytest.approx(expected, abs=1e-10)


@settings(deadline=None)
@given(**SHAPES)
def test_si_sdr_is_the_angle_between_estimate_and_reference(sources: int, channels: int, length: int):
    references = noise(sources, channels, length + 1)
    estimates = separated(references, artifacts=0.3)
    cosine = torch.cosine_similarity(references.double().flatten(1), estimates.double().flatten(1))
    expected = 10 * torch.log10(cosine**2 / (1 - cosine**2))
    torch.testing.assert_close(si_sdr(references, estimates), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 20.0, 50.0])
def test_orthogonal_noise_of_known_power(decibels: float):
    references = noise(2, 2, 5000).double()
    wrong = noise(2, 2, 5000, seed=1).double()
    energy = references.square().sum((1, 2), keepdim=True)
    wrong -= (wrong * references).sum((1, 2), keepdim=True) / energy * references
    wrong *= (energy / wrong.square().sum((1, 2), keepdim=True) * 10 ** (-decibels / 10)).sqrt()
    for metric in (sdr, si_sdr):
        scores = metric(references, references + wrong)
        torch.testing.assert_close(scores, torch.full((2,), decibels).double(), rtol=0, atol=1e-3)


@given(gain=st.floats(1e-6, 1e6), sign=st.sampled_from([-1, 1]))
def test_si_sdr_ignores_levels(gain: float, sign: int):
    references = noise(2, 2, 300).double()
    estimates = separated(references)
    torch.testing.assert_close(si_sdr(references, sign * gain * estimates), si_sdr(references, estimates))
    torch.testing.assert_close(si_sdr(sign * gain * references, estimates), si_sdr(references, estimates))


def test_si_sdr_has_one_gain_for_all_channels():
    references = noise(1, 2, 1000)
    balance = references * torch.tensor([[1.0], [0.5]])
    assert si_sdr(references, references * 0.5).item() > 100
    assert si_sdr(references, balance).item() < 15


@METRICS
def test_scores_follow_their_sources(metric):
    references, order = noise(4, 2, 501), torch.tensor([3, 1, 0, 2])
    estimates = separated(references)
    assert torch.equal(metric(references[order], estimates[order]), metric(references, estimates)[order])


@METRICS
def test_blocks_leave_no_seams(metric, monkeypatch: pytest.MonkeyPatch):
    references = noise(2, 2, 1001)
    expected = metric(references, separated(references))
    monkeypatch.setattr(signals, "SUM_LENGTH", 10)
    torch.testing.assert_close(metric(references, separated(references)), expected, rtol=0, atol=1e-10)


def test_silence():
    sound, silence = noise(1, 2, 100), torch.zeros(1, 2, 100)
    energy = sound.double().square().sum().item()
    assert sdr(silence, silence).item() == 0
    assert sdr(sound, sound).item() == pytest.approx(10 * math.log10(1 + 1e7 * energy))
    assert sdr(sound, silence).item() == pytest.approx(0, abs=1e-5)
    assert si_sdr(silence, sound).isnan().all()
    assert si_sdr(sound, silence).isnan().all()
    assert si_sdr(silence, silence).isnan().all()
    assert si_sdr(sound, sound).isposinf().all()
    assert si_sdr(torch.tensor([[[1.0, 0]]]), torch.tensor([[[0, 1.0]]])).isneginf().all()


@METRICS
def test_invalid_signals_are_refused(metric):
    good = noise(2, 2, 50)
    with pytest.raises(ValueError, match=r"must be \[sources, channels, samples\], not \[2, 50\]"):
        metric(good[0], good[0])
    with pytest.raises(ValueError, match=r"\[2, 2, 50\] and estimates \[2, 2, 49\] must have the same shape"):
        metric(good, good[..., 1:])
    for empty in (good[:0], good[:, :0], good[..., :0]):
        with pytest.raises(ValueError, match="nothing to score"):
            metric(empty, empty)
    with pytest.raises(ValueError, match=r"references must be floating-point, not torch\.int64"):
        metric(good.long(), good.long())
    for value in (math.nan, math.inf, -math.inf):
        bad = good.clone()
        bad[1, 0, 7] = value
        with pytest.raises(ValueError, match="references must be finite"):
            metric(bad, good)
        with pytest.raises(ValueError, match="estimates must be finite"):
            metric(good, bad)
