"""Modules and bundles of torchaudio in memory, taken as models."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hdemucs import Separator, checkpoint
from hdemucs.errors import CheckpointError
from hdemucs.model import Bag, HDemucs
from tests.conftest import tiny_network
from tests.installed import installed_module
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


def torchaudio_bundle(monkeypatch: pytest.MonkeyPatch, weights: Path, **fields: Any) -> Any:
    """A bundle of torchaudio's own class, with small networks and weights that "downloads" find in a file."""
    torchaudio = SimpleNamespace(
        models=SimpleNamespace(conv_tasnet_base=nn.Linear, hdemucs_high=torchaudio_hdemucs().hdemucs_high),
        utils=SimpleNamespace(_download_asset=lambda path: weights / path),
    )
    monkeypatch.setitem(sys.modules, "torchaudio", torchaudio)
    monkeypatch.setitem(sys.modules, "torchaudio.models", torchaudio.models)
    module = installed_module("torchaudio", "torchaudio/pipelines/_source_separation_pipeline.py")
    kind = module.SourceSeparationBundle
    monkeypatch.setattr(kind, "__module__", "torchaudio.pipelines._source_separation_pipeline")
    return kind(**{"_model_path": "model.pt", "_sample_rate": 48000, **fields})


def test_a_bundle_keeps_its_weights_and_sample_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = torchaudio_module(monkeypatch)
    torch.save(module.state_dict(), tmp_path / "model.pt")
    bundle = torchaudio_bundle(
        monkeypatch, tmp_path, _model_factory_func=lambda: type(module)(SOURCES, channels=8)
    )
    checkpoint.save(bundle, tmp_path / "model.safetensors")
    separator = Separator(bundle)
    assert (separator.sample_rate, separator.stems) == (48000, SOURCES)
    expected = checkpoint.translate_weights("HDemucs", module.state_dict())
    for model in (separator.model, checkpoint.load(tmp_path / "model.safetensors")):
        assert model.sample_rate == 48000
        actual = model.state_dict()
        assert actual.keys() == expected.keys()
        assert all(torch.equal(actual[name].flatten(), value.flatten()) for name, value in expected.items())


def test_a_bundle_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "model.pt")
    other = torchaudio_bundle(monkeypatch, tmp_path, _model_factory_func=lambda: nn.Linear(1, 1))
    with pytest.raises(CheckpointError, match="bundle's Linear is not supported, only HDemucs"):
        Separator(other)
    (tmp_path / "model.pt").unlink()
    with pytest.raises(CheckpointError, match=r"cannot load its bundle's model \(.*model\.pt"):
        Separator(other)


def test_what_is_not_a_model_is_one_line(tmp_path: Path) -> None:
    for other in (nn.Linear(1, 1), object()):
        with pytest.raises(CheckpointError, match=f"a {type(other).__name__} is not a model; give one of"):
            Separator(other)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="a Linear is not a model"):
        checkpoint.save(nn.Linear(1, 1), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="bag of models does not fit in one file"):
        checkpoint.save(Bag([tiny_network()]), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
