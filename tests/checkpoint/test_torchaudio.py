"""Modules of torchaudio in memory, taken as models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hdemucs import Separator, checkpoint
from hdemucs.errors import CheckpointError
from hdemucs.model import Bag, HDemucs
from tests.conftest import tiny_network
from tests.reference import SOURCES, randomise, torchaudio_hdemucs


def torchaudio_module(monkeypatch: pytest.MonkeyPatch, *sources: str, **settings: Any) -> nn.Module:
    """torchaudio's network, under the module path that it has in the whole package."""
    kind = torchaudio_hdemucs().HDemucs
    monkeypatch.setattr(kind, "__module__", "torchaudio.models._hdemucs")
    torch.manual_seed(0)
    module: nn.Module = kind(list(sources or SOURCES), channels=8, **settings)
    randomise(module)
    return module.eval()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm_starts": 999, "dconv_lstm": 999, "dconv_attn": 999, "freq_emb": 0.0},
        {"norm_starts": 2, "norm_groups": 2, "dconv_lstm": 5, "freq_emb": 0.3, "audio_channels": 1},
    ],
)
def test_a_module_keeps_its_settings(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module = torchaudio_module(monkeypatch, **settings)
    model = Separator(module).model
    assert isinstance(model, HDemucs)
    mix = torch.randn(1, settings.get("audio_channels", 2), 5000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, actual = module(mix), model(mix)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_module_is_saved_with_equal_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = torchaudio_module(monkeypatch, "voice", "rest")
    checkpoint.save(module, tmp_path / "model.safetensors")
    model = checkpoint.load(tmp_path / "model.safetensors")
    assert model.sources == ["voice", "rest"]
    before = checkpoint.translate_weights("HDemucs", module.state_dict())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name].flatten(), value.flatten()) for name, value in before.items())
    next(Separator(module).model.parameters()).data.zero_()
    assert next(module.parameters()).any()


def test_settings_that_ours_does_not_have_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="emb_scale=5 is not supported, only 10"):
        Separator(torchaudio_module(monkeypatch, emb_scale=5))
    with pytest.raises(CheckpointError, match="context=2 is not supported, only 1"):
        Separator(torchaudio_module(monkeypatch, context=2))


@pytest.mark.parametrize("model", [nn.Linear(1, 1), Bag([tiny_network()])])
def test_only_networks_are_saved(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a network that fits in one file"):
        checkpoint.save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
