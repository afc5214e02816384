"""Prepared networks equal the trained ones in every configuration, and keep them as they are."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hdemucs.model import Demucs, HDemucs, Network
from hdemucs.model.fast import convolution, prepare
from tests.reference import randomise

SMALL: dict[str, Any] = {"channels": 8, "depth": 5, "n_fft": 1024}
HYBRID: dict[str, dict[str, Any]] = {
    "LSTM and attention": {},
    "six layers": {"depth": 6, "n_fft": 4096, "channels": 4, "attention_starts": 9},
    "residual in both": {"residual": "both"},
    "residual nowhere": {"residual": "none"},
    "norm everywhere": {"norm_starts": 0},
    "norm nowhere": {"norm_starts": 99},
    "bands": {"bands": [0.1, 0.3]},
    "LSTM and attention over frequencies": {"channels": 16, "lstm_starts": 2, "attention_starts": 2},
    "spectrogram only, shallow": {"hybrid": False, "depth": 3},
    "amplitude": {"spectrogram": "amplitude"},
    "old padding": {"old_padding": True},
    "no frequency embedding, mono": {"freq_emb": 0, "audio_channels": 1},
}
WAVEFORM: dict[str, dict[str, Any]] = {
    "v3, residual in both": {"depth": 5, "norm_starts": 3, "residual": "both"},
    "v2": {"lstm_layers": 2, "activation": "relu", "norm_starts": 99, "residual": "none"},
    "rewrite off": {"rewrite": False, "residual": "both", "attention_starts": 9},
}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def assert_prepared_equals(model: Network, mix: Tensor, tolerance: float = 2e-6) -> None:
    randomise(model)
    model.eval()
    prepared = prepare(model, torch.float32)
    with torch.inference_mode():
        expected, actual = model(mix), prepared(mix)
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("case", HYBRID)
def test_hdemucs_in_every_configuration(case: str) -> None:
    torch.manual_seed(0)
    settings = {**SMALL, **HYBRID[case]}
    assert_prepared_equals(HDemucs(["a", "b"], **settings), noise(2, settings.get("audio_channels", 2), 9001))


@pytest.mark.parametrize("case", WAVEFORM)
def test_demucs_in_every_configuration(case: str) -> None:
    torch.manual_seed(0)
    assert_prepared_equals(
        Demucs(["a", "b"], **{"channels": 8, "depth": 3, **WAVEFORM[case]}), noise(2, 2, 5001)
    )


@pytest.mark.parametrize("residual", ["encoder", "both"])
def test_any_number_of_strips(residual: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frequencies, time positions and queries are computed a few at a time, even one by one."""
    torch.manual_seed(0)
    model = HDemucs(["a"], **SMALL, residual=residual)
    for values in (1, 3000):
        monkeypatch.setattr(convolution, "CACHE_VALUES", values)
        assert_prepared_equals(model, noise(1, 2, 5000))


def test_without_the_operators_of_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "_LAYS_OUT", False)
    torch.manual_seed(0)
    assert_prepared_equals(HDemucs(["a"], **SMALL), noise(1, 2, 5000))


def test_another_type_keeps_the_layers() -> None:
    """As on a GPU, or in double precision."""
    torch.manual_seed(0)
    model = HDemucs(["a"], **SMALL).eval()
    prepared = prepare(model, torch.float64)
    assert type(prepared.freq_encoder[0]) is type(model.freq_encoder[0])
    mix = noise(1, 2, 5000)
    with torch.inference_mode():
        assert torch.allclose(prepared(mix), model(mix), atol=1e-5)


def test_half_precision_on_layers_as_they_are() -> None:
    """What runs on a GPU: statistics stay in float32, so that a long row loses nothing."""
    torch.manual_seed(0)
    model = HDemucs(["a"], **SMALL)
    randomise(model)
    model.eval()
    halved = prepare(model, torch.float16)
    mix = noise(1, 2, 30_000)
    with torch.inference_mode():
        expected, actual = model(mix), halved(mix)
    assert (actual - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quiet_and_silent_stretches_keep_precision(dtype: torch.dtype) -> None:
    """Precision is lost first where rows that hardly vary are normalised."""
    torch.manual_seed(0)
    model = HDemucs(["a"], **SMALL, residual="both")
    randomise(model)
    model.eval()
    mix = torch.cat([torch.zeros(1, 2, 20_000), 1e-3 * noise(1, 2, 20_000)], -1)
    exact = prepare(model, torch.float64)
    with torch.inference_mode():
        truth, actual = exact(mix.double()), prepare(model, dtype)(mix)
    assert (actual - truth).abs().max() < (1e-5 if dtype == torch.float32 else 0.05) * truth.abs().max()
