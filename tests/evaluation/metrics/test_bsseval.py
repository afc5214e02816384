"""BSS Eval against museval, and against answers known by construction."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdemucs.evaluation import BSSEval, bss_eval
from hdemucs.evaluation.metrics import bsseval, projection
from tests.evaluation.metrics.signals import music, noise, separated, sixteen_bits
from tests.evaluation.reference import museval_scores

RATE = 4000
SECONDS: dict[str, Any] = {"window": RATE, "hop": RATE}


def stacked(scores: BSSEval) -> Tensor:
    return torch.stack([scores.sdr, scores.isr, scores.sir, scores.sar])


def assert_equals_museval(references: Tensor, estimates: Tensor, **options) -> None:
    """Assert that scores differ by at most 0.001 dB; above 60 dB it is enough that both are."""
    expected = museval_scores(references, estimates, **options)
    scores = stacked(bss_eval(references, estimates, **options))
    assert scores.dtype == torch.float64
    assert scores.shape == expected.shape
    assert torch.equal(scores.isnan(), expected.isnan())
    high = expected >= 60
    assert (scores[high] >= 60).all()
    low = expected < 60
    torch.testing.assert_close(scores[low], expected[low], rtol=0, atol=1e-3)


def silenced(signals: Tensor, source: int, start: int, stop: int) -> Tensor:
    signals = signals.clone()
    signals[source, :, start:stop] = 0
    return signals


def attenuated(signals: Tensor, source: int, start: int, gain: float) -> Tensor:
    signals = signals.clone()
    signals[source, :, start:] *= gain
    return signals


def in_opposite_phase(signals: Tensor, source: int, start: int, stop: int) -> Tensor:
    signals = signals.clone()
    signals[source, 1, start:stop] = -signals[source, 0, start:stop]
    return signals


STEREO = music(4, 2, 5 * RATE + 1234, RATE)
PAIR = STEREO[:2]
MONO = music(3, 1, 4 * RATE + 1, RATE)
CENTRED = STEREO[:2].mean(1, keepdim=True).expand(-1, 2, -1)
CASES = {
    "separated": (STEREO, separated(STEREO)),
    "poor": (STEREO, separated(STEREO, leak=0.8, artifacts=0.5)),
    "noise": (noise(2, 2, 3 * RATE), noise(2, 2, 3 * RATE, seed=5)),
    "mixture": (PAIR, PAIR.sum(0, keepdim=True).expand(2, -1, -1)),
    "identical": (PAIR, PAIR),
    "permuted": (PAIR, PAIR.flip(0)),
    "opposite phase": (PAIR, -PAIR),
    "channels swapped": (PAIR, PAIR.flip(1)),
    "delayed": (PAIR, PAIR.roll(100, dims=-1)),
    "nearly silent estimates": (PAIR, 1e-6 * noise(*PAIR.shape)),
    "everything quiet": (noise(2, 2, 3 * RATE) * 1e-7, noise(2, 2, 3 * RATE, seed=5) * 1e-8),
    "a silent reference": (silenced(PAIR, 1, RATE, 3 * RATE), separated(PAIR)),
    "a reference silent for half a window": (silenced(PAIR, 0, 0, RATE // 2), separated(PAIR)),
    "a silent estimate": (PAIR, silenced(separated(PAIR), 0, 2 * RATE, 3 * RATE)),
    "a reference that is nearly silent": (
        attenuated(noise(2, 2, 3 * RATE), 1, RATE, 1e-5),
        noise(2, 2, 3 * RATE, seed=5),
    ),
    "identical channels": (sixteen_bits(CENTRED), separated(PAIR)),
    "a silent channel": (PAIR * torch.tensor([[1.0], [0.0]]), separated(PAIR)),
    "channels that cancel count as silent": (in_opposite_phase(PAIR, 0, RATE, 2 * RATE), separated(PAIR)),
    "mono": (MONO, separated(MONO)),
    "one source": (MONO[:1], separated(MONO)[:1]),
    "one stereo source": (STEREO[:1], separated(STEREO)[:1]),
}


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_museval(case: str):
    assert_equals_museval(*CASES[case], **SECONDS, filter_length=128)


@pytest.mark.parametrize(("window", "hop"), [(RATE, RATE // 2), (1500, 2000), (10**6, 10**6), (RATE, 10**6)])
def test_any_windows_equal_museval(window: int, hop: int):
    assert_equals_museval(PAIR, separated(PAIR), window=window, hop=hop, filter_length=64)


@pytest.mark.parametrize("taps", [128, 512])
def test_a_track_shorter_than_its_filters_equals_museval(taps: int):
    references = noise(2, 2, 300)
    assert_equals_museval(references, separated(references), **SECONDS, filter_length=taps)


def test_six_sources_equal_museval():
    references = music(6, 2, 3 * RATE, RATE)
    assert_equals_museval(references, separated(references), **SECONDS, filter_length=64)


@pytest.mark.slow
def test_defaults_at_full_rate_equal_museval():
    references = music(2, 2, 2 * 44100 + 5000, 44100)
    assert_equals_museval(references, separated(references))


@settings(deadline=None, max_examples=40)
@given(
    sources=st.integers(1, 6),
    channels=st.integers(1, 2),
    length=st.integers(700, 2500),
    window=st.integers(50, 3000),
    hop=st.integers(50, 900),
    taps=st.integers(1, 24),
)
def test_any_shape_equals_museval(sources, channels, length, window, hop, taps):
    references, estimates = (noise(sources, channels, length, seed=seed) for seed in (length, window))
    assert_equals_museval(references, estimates, window=window, hop=hop, filter_length=taps)


def test_a_source_that_is_always_silent_leaves_no_score():
    references = silenced(PAIR, 0, 0, PAIR.shape[-1])
    with pytest.raises(ValueError, match="silent"):
        museval_scores(references, PAIR, **SECONDS)
    scores = stacked(bss_eval(references, PAIR, **SECONDS, filter_length=32))
    assert scores.shape == (4, 2, 5)
    assert scores.isnan().all()


def one_after_another() -> tuple[Tensor, Tensor]:
    """Two sources and an artifact, separated in time by more than the length of a filter."""
    references, artifact = torch.zeros(2, 2, 3000), torch.zeros(2, 2, 3000)
    references[0, :, 100:800] = noise(2, 700)
    references[1, :, 1100:1800] = noise(2, 700, seed=1)
    artifact[..., 2100:2800] = noise(2, 2, 700, seed=2)
    return references, artifact


def level(x: Tensor) -> Tensor:
    return 10 * x.double().square().sum((1, 2)).log10()


def test_kinds_of_error_are_told_apart():
    references, artifact = one_after_another()
    estimates = 0.8 * references + 0.1 * references.flip(0) + 0.05 * artifact
    scores = bss_eval(references, estimates, window=3000, filter_length=64)
    own, other, extra = level(0.8 * references), level(0.1 * references.flip(0)), level(0.05 * artifact)
    wrong = level(estimates - references)
    both = level(0.8 * references + 0.1 * references.flip(0))
    expected = [
        level(references) - wrong,
        level(references) - level(0.2 * references),
        own - other,
        both - extra,
    ]
    # In float32, a gain of 0.8 has seven digits.
    torch.testing.assert_close(stacked(scores)[..., 0], torch.stack(expected), rtol=0, atol=1e-4)


def test_a_filter_is_only_spatial_distortion():
    references = noise(2, 2, 4000).double()
    kernel = noise(2, 2, 20, seed=1).double() / 5
    # Filters ring out within the track.
    references[..., -100:] = 0
    estimates = torch.nn.functional.conv1d(references, kernel, padding=19)[..., :4000]
    scores = bss_eval(references, estimates, window=4000, filter_length=32)
    torch.testing.assert_close(scores.isr, scores.sdr, rtol=0, atol=1e-6)
    assert (scores.sir > 100).all()
    assert (scores.sar > 100).all()


@pytest.mark.parametrize("taps", [1, 16, 100])
def test_identical_channels_score_as_one(taps: int):
    one = sixteen_bits(0.1 * noise(2, 1, 3000))
    estimate = separated(one)
    mono = stacked(bss_eval(one, estimate, window=1000, hop=1000, filter_length=taps))
    two = [x.expand(-1, 2, -1) for x in (one, estimate)]
    dual = stacked(bss_eval(*two, window=1000, hop=1000, filter_length=taps))
    torch.testing.assert_close(dual, mono, rtol=0, atol=1e-3)


def test_a_perfect_estimate_has_an_infinite_sdr():
    scores = bss_eval(PAIR, PAIR, **SECONDS, filter_length=32)
    assert scores.sdr.isposinf().all()
    assert (stacked(scores) > 100).all()


def test_scores_follow_their_sources():
    order = torch.tensor([2, 0, 3, 1])
    references, estimates = STEREO, separated(STEREO)
    scores = stacked(bss_eval(references, estimates, **SECONDS, filter_length=32))
    permuted = stacked(bss_eval(references[order], estimates[order], **SECONDS, filter_length=32))
    torch.testing.assert_close(permuted, scores[:, order], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [1, 5000, 10**6])
def test_blocks_leave_no_seams(monkeypatch: pytest.MonkeyPatch, size: int):
    references = noise(2, 2, 40000)
    expected = stacked(bss_eval(references, separated(references), **SECONDS, filter_length=32))
    for module in (bsseval, projection):
        monkeypatch.setattr(module, "TRANSFORM_LENGTH", size)
    scores = stacked(bss_eval(references, separated(references), **SECONDS, filter_length=32))
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-8)


def test_correlations_are_sums_of_products():
    references, estimates = noise(1, 2, 20000), noise(1, 2, 20000, seed=1)
    auto, cross = projection.correlations(references, estimates, 9)
    x, y = references[0].double(), estimates[0].double()
    for lag in range(9):
        torch.testing.assert_close(auto[..., lag], x[:, : 20000 - lag] @ x[:, lag:].T)
        torch.testing.assert_close(cross[..., lag], x[:, : 20000 - lag] @ y[:, lag:].T)


def test_memory_layout_precision_and_gradients_do_not_matter():
    references, estimates = PAIR, separated(PAIR)
    scores = stacked(bss_eval(references, estimates, **SECONDS, filter_length=32))
    channels_last = [x.transpose(1, 2).contiguous().transpose(1, 2).double() for x in (references, estimates)]
    torch.testing.assert_close(stacked(bss_eval(*channels_last, **SECONDS, filter_length=32)), scores)
    learned = stacked(bss_eval(references, estimates.requires_grad_(), **SECONDS, filter_length=32))
    assert torch.equal(learned, scores)
    assert not learned.requires_grad


@pytest.mark.parametrize("option", ["window", "hop", "filter_length"])
def test_options_below_one_sample_are_refused(option: str):
    with pytest.raises(ValueError, match=f"{option} must be at least 1 sample, not 0"):
        bss_eval(PAIR, PAIR, **{option: 0})


def test_signals_are_checked():
    with pytest.raises(ValueError, match="must have the same shape"):
        bss_eval(PAIR, PAIR[..., 1:])
