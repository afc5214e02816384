"""Same weights, same input: the same output and gradients as the reference implementations."""

import copy
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdemucs.checkpoint import translate_weights
from hdemucs.checkpoint.build import build
from hdemucs.model import Network
from tests.reference import SOURCES, TRANSFORMER, randomise, reference_pair, torchaudio_hdemucs

LENGTHS = [1, 100, 769, 1025, 10007, 44100]
OUTPUT_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

HYBRID: dict[str, dict[str, Any]] = {
    "default": {},
    "amplitude, mixture phase": {"cac": False},
    "amplitude, mask": {"cac": False, "wiener_iters": -1, "end_iters": -1},
    "spectrogram only": {"hybrid": False},
    "spectrogram only, amplitude": {"hybrid": False, "cac": False},
    "spectrogram only, shallow": {"hybrid": False, "depth": 4},
    "old padding": {"hybrid_old": True},
    "old padding, amplitude, no norm": {"hybrid_old": True, "cac": False, "norm_starts": 999},
    "bands": {"multi_freqs": [0.1, 0.3], "norm_starts": 999},
    "bands, one edge": {"multi_freqs": [0.25]},
    "residual nowhere": {"dconv_mode": 0},
    "residual in decoder": {"dconv_mode": 2},
    "residual in both": {"dconv_mode": 3},
    "without LSTM": {"dconv_lstm": 99},
    "without attention": {"dconv_attn": 99},
    "LSTM and attention over frequencies": {"channels": 16, "dconv_lstm": 2, "dconv_attn": 2},
    "five layers": {"depth": 5},
    "seven layers": {"depth": 7, "channels": 4, "dconv_attn": 5},
    "other width": {"channels": 12, "dconv_attn": 6},
    "norm everywhere": {"norm_starts": 0},
    "norm groups": {"norm_groups": 2},
    "no frequency embedding": {"freq_emb": 0},
    "mono, two sources": {"audio_channels": 1, "sources": ["voice", "rest"]},
}
WAVEFORM: dict[str, dict[str, Any]] = {
    "v3": {},
    "v2": {
        "gelu": False,
        "lstm_layers": 2,
        "norm_starts": 999,
        "dconv_mode": 0,
        "dconv_attn": 999,
        "dconv_lstm": 999,
    },
    "v1-like, not resampled, not normalised": {
        "gelu": False,
        "lstm_layers": 2,
        "norm_starts": 999,
        "dconv_mode": 0,
        "resample": False,
        "normalize": False,
    },
    "rewrite off, as in the MDX models": {"rewrite": False},
    "residual in both": {"dconv_mode": 3},
    "residual in decoder, rewrite off": {"dconv_mode": 2, "rewrite": False},
    "five layers, mono": {"depth": 5, "audio_channels": 1},
}


TRANSFORMERS: dict[str, dict[str, Any]] = {
    "three layers around the transformer": {"nfft": 1024, "depth": 3, "segment": 0.25},
    "as published": {},
    "seven transformer layers": {"t_layers": 7},
    "self-attention only": {"t_layers": 1},
    "no projection, six sources, as htdemucs_6s": {"bottom_channels": 0, "sources": list("abcdef")},
    "dropout": {"t_dropout": 0.02},
    "narrow feed-forward network": {"t_hidden_scale": 1.5},
    "no frequency embedding": {"freq_emb": 0},
    "mono, two sources": {"audio_channels": 1, "sources": ["voice", "rest"]},
}


def mostly_slow(cases: dict[str, Any]) -> list[Any]:
    """All cases, the first as a quick test and the others marked `slow`."""
    first, *others = cases
    return [first, *(pytest.param(case, marks=pytest.mark.slow) for case in others)]


def noise(length: int, channels: int = 2, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, channels, length, generator=generator)


def run_reference(reference: nn.Module, mix: Tensor) -> Tensor | None:
    """Output, or None for the short inputs that the reference cannot take."""
    with torch.no_grad():
        try:
            out: Tensor = reference(mix)
        except (RuntimeError, ValueError):
            assert mix.shape[-1] < 2049, "the reference failed on an ordinary length"
            return None
    return out if out.isfinite().all() else None


def assert_same_outputs(reference: nn.Module, ours: Network) -> None:
    compared = 0
    longest = LENGTHS[-1] if ours.longest_segment is None else ours.valid_length(1)
    for length in (*(length for length in LENGTHS if length < longest), longest):
        mix = noise(length, ours.audio_channels)
        expected = run_reference(reference, mix)
        with torch.no_grad():
            actual = ours(mix)
        assert actual.isfinite().all()
        assert actual.shape == (2, len(ours.sources), ours.audio_channels, length)
        if expected is not None:
            difference = (actual - expected).abs().max() / expected.abs().max()
            assert difference < OUTPUT_TOLERANCE, f"{difference:.1e} at {length} samples"
            compared += 1
    assert compared >= 2


def gradients(model: nn.Module, mix: Tensor, target: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    (model(mix) - target).abs().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(architecture: str, reference: nn.Module, ours: Network, length: int) -> None:
    """Compare gradients of an L1 loss: all together in single precision, each parameter's in double.

    In single precision, some biases get little but rounding errors, in the reference too.
    """
    mix = noise(length, ours.audio_channels)
    target = noise(length + 1, ours.audio_channels)[:, None, :, :length]

    expected = translate_weights(architecture, gradients(reference, mix, target))
    actual = gradients(ours, mix, target)
    assert actual.keys() == expected.keys()
    whole = torch.cat([expected[name].flatten() for name in expected])
    difference = torch.cat([(actual[name].flatten() - expected[name].flatten()) for name in expected])
    assert difference.norm() < GRADIENT_TOLERANCE * whole.norm()

    # The reference is slow in double precision: three frames are enough for every layer.
    mix, target = mix[:1, :, :2500].double(), target[:1, ..., :2500].double()
    expected = translate_weights(architecture, gradients(copy.deepcopy(reference).double(), mix, target))
    actual = gradients(copy.deepcopy(ours).double(), mix, target)
    largest = max(gradient.norm() for gradient in expected.values())
    for name, gradient in expected.items():
        difference = actual[name].flatten() - gradient.flatten()
        assert difference.norm() < GRADIENT_TOLERANCE * max(gradient.norm(), 1e-6 * largest), name


@pytest.mark.parametrize("case", mostly_slow(HYBRID))
def test_hdemucs_equals_demucs_package(case: str) -> None:
    reference, ours = reference_pair("HDemucs", **{"channels": 8, **HYBRID[case]})
    assert_same_outputs(reference, ours)
    assert_same_gradients("HDemucs", reference, ours, 10007)


@pytest.mark.parametrize("case", mostly_slow(WAVEFORM))
def test_demucs_equals_demucs_package(case: str) -> None:
    reference, ours = reference_pair("Demucs", **{"channels": 8, **WAVEFORM[case]})
    assert_same_outputs(reference, ours)
    assert_same_gradients("Demucs", reference, ours, 10007)


@pytest.mark.parametrize("case", mostly_slow(TRANSFORMERS))
def test_htdemucs_equals_demucs_package(case: str) -> None:
    """Shorter mixtures are padded to the segment, 22,050 samples here; the longest one is that long."""
    settings = {"channels": 16, "segment": 0.5, **TRANSFORMER, **TRANSFORMERS[case]}
    reference, ours = reference_pair("HTDemucs", **settings)
    assert_same_outputs(reference, ours)
    assert_same_gradients("HTDemucs", reference, ours, 10007)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("htdemucs", {"bottom_channels": 512}, 41_984_456),
        ("htdemucs_6s", {"bottom_channels": 0, "sources": list("abcdef")}, 27_414_996),
    ],
)
def test_full_size_htdemucs_equals_demucs_package(
    name: str, settings: dict[str, Any], parameters: int
) -> None:
    published = {"dconv_mode": 3, "t_dropout": 0.02, "segment": Fraction(39, 5)}
    reference, ours = reference_pair("HTDemucs", **published, **settings)
    for model in (reference, ours):
        assert sum(p.numel() for p in model.parameters()) == parameters
    for length in (100_003, 343_980):
        mix = noise(length, batch=1)
        with torch.no_grad():
            expected, actual = reference(mix), ours(mix)
        assert (actual - expected).abs().max() < OUTPUT_TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("length", [100, 10007, pytest.param(330_000, marks=pytest.mark.slow)])
def test_wiener_filtering_equals_demucs_package(iterations: int, length: int) -> None:
    """Compared in single precision, and with a closer tolerance in double.

    Inverting nearly singular covariances in single precision, the reference itself is up to 1e-5 off. The
    longest case has more frames than share one covariance.
    """
    settings: dict[str, Any] = {"cac": False, "wiener_iters": iterations, "end_iters": iterations}
    reference, ours = reference_pair("HDemucs", channels=4, dconv_attn=99, **settings)
    mix = noise(length, batch=1)
    for tolerance in (OUTPUT_TOLERANCE, 2e-6):
        with torch.no_grad():
            expected, actual = reference(mix), ours(mix)
        assert (actual - expected).abs().max() < tolerance * expected.abs().max()
        reference, ours, mix = reference.double(), ours.double(), mix.double()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hdemucs_low", "hdemucs_medium", "hdemucs_high"])
def test_hdemucs_equals_torchaudio(name: str) -> None:
    n_fft, depth = {"hdemucs_low": (1024, 5), "hdemucs_medium": (2048, 6), "hdemucs_high": (4096, 6)}[name]
    torch.manual_seed(0)
    reference = torchaudio_hdemucs().HDemucs(SOURCES, channels=8, nfft=n_fft, depth=depth).eval()
    randomise(reference)
    arguments = {"sources": SOURCES, "channels": 8, "n_fft": n_fft, "depth": depth}
    ours = build("HDemucs", arguments, translate_weights("HDemucs", reference.state_dict()))
    assert_same_outputs(reference, ours)
    assert_same_gradients("HDemucs", reference, ours, 10007)


def test_full_size_equals_torchaudio() -> None:
    torch.manual_seed(0)
    reference = torchaudio_hdemucs().hdemucs_high(SOURCES).eval()
    randomise(reference)
    state = translate_weights("HDemucs", reference.state_dict())
    ours = build("HDemucs", {"sources": SOURCES}, state)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in state.values())
    mix = noise(60_000, batch=1)
    with torch.no_grad():
        expected, actual = reference(mix), ours(mix)
    assert (actual - expected).abs().max() < OUTPUT_TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("architecture", ["HDemucs", "HTDemucs", "Demucs"])
def test_quiet_and_silent_stretches_keep_precision(architecture: str) -> None:
    """Precision is lost first where rows that hardly vary are normalised."""
    settings: dict[str, Any] = {"channels": 8}
    if architecture == "HTDemucs":
        settings = {"channels": 16, "segment": 1, **TRANSFORMER}
    reference, ours = reference_pair(architecture, **{**settings, "dconv_mode": 3})
    mix = torch.cat([torch.zeros(1, 2, 20_000), 1e-3 * noise(20_000, batch=1)], -1)
    exact = copy.deepcopy(reference).double()
    with torch.no_grad():
        truth = exact(mix.double())
        theirs = (reference(mix) - truth).abs().max()
        actual = (ours(mix) - truth).abs().max()
    assert actual < 3 * theirs + 1e-7 * truth.abs().max()
