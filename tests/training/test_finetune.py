"""Preparing fine-tuning: what is inherited, what is new, and what is rejected."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hdemucs.checkpoint import load, save
from hdemucs.errors import CheckpointError, TrainingError, UnknownModelError
from hdemucs.model import Demucs, HDemucs, HTDemucs, Network
from hdemucs.training.finetune import Inherited, freeze, initialise
from tests.reference import SOURCES, randomise

HYBRID: dict[str, Any] = {
    "channels": 4,
    "depth": 5,
    "n_fft": 1024,
    "attention_starts": 99,
    "sample_rate": 8000,
}
WAVEFORM: dict[str, Any] = {"channels": 4, "depth": 3, "sample_rate": 8000, "segment": 7}
VERSION_2: dict[str, Any] = {"lstm_layers": 2, "activation": "relu", "norm_starts": 999, "residual": "none"}

BUILD: dict[str, Callable[[], Network]] = {
    "complex": lambda: HDemucs(SOURCES, **HYBRID),
    "mono": lambda: HDemucs(SOURCES, audio_channels=1, **HYBRID),
    "amplitude": lambda: HDemucs(SOURCES, spectrogram="amplitude", old_padding=True, **HYBRID),
    "masks": lambda: HDemucs(SOURCES, spectrogram="amplitude", wiener_iters=-1, **HYBRID),
    "banded": lambda: HDemucs(SOURCES, bands=[0.1, 0.3], **HYBRID),
    "banded amplitude": lambda: HDemucs(SOURCES, bands=[0.2], spectrogram="amplitude", **HYBRID),
    "spectrogram": lambda: HDemucs(SOURCES, hybrid=False, **HYBRID),
    "transformer": lambda: HTDemucs(SOURCES, **{**HTDemucs.tiny, "sample_rate": 8000, "segment": 0.5}),
    "demucs v2": lambda: Demucs(SOURCES, **VERSION_2, **WAVEFORM),
    "demucs v3": lambda: Demucs(SOURCES, norm_starts=2, lstm_starts=2, attention_starts=99, **WAVEFORM),
}


@pytest.fixture(scope="module", params=BUILD)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a model file, one of each kind."""
    torch.manual_seed(0)
    model = BUILD[request.param]()
    randomise(model)
    path = tmp_path_factory.mktemp("trained") / "trained.safetensors"
    save(model, path)
    return str(path)


@pytest.fixture
def hybrid(tmp_path: Path) -> str:
    return saved(tmp_path / "hybrid.safetensors")


def saved(path: Path, seed: int = 0, **settings: Any) -> str:
    torch.manual_seed(seed)
    model = HDemucs(**{"sources": SOURCES, **HYBRID, **settings})
    randomise(model, seed)
    save(model, path)
    return str(path)


def separated(model: nn.Module) -> torch.Tensor:
    assert isinstance(model, Network)
    mix = torch.randn(1, model.audio_channels, 4000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out: torch.Tensor = model.eval()(mix)[0]
    return out


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "sources",
    [
        None,
        SOURCES,
        ["vocals", "bass", "drums", "other"],
        ["vocals", "drums"],
        ["other"],
        ["guitar", "vocals", "piano", "drums", "bass"],
    ],
)
def test_sources_of_the_same_name_come_out_as_before(trained: str, sources: list[str] | None) -> None:
    before = separated(load(trained))
    model, _ = initialise(trained, sources)
    after = separated(model)
    assert model.sources == (sources or SOURCES)
    assert len(after) == len(model.sources)
    for index, source in enumerate(model.sources):
        if source in SOURCES:
            expected = before[SOURCES.index(source)]
            assert torch.allclose(after[index], expected, atol=1e-6 * float(expected.abs().max()), rtol=1e-5)


def test_normalisation_of_the_outputs_follows_them(tmp_path: Path) -> None:
    """Its four groups are the four sources' channels here."""
    path = saved(tmp_path / "a.safetensors", norm_starts=0)
    before = separated(load(path))
    model, _ = initialise(path, SOURCES[::-1])
    assert torch.allclose(separated(model), before.flip(0), atol=1e-6 * float(before.abs().max()), rtol=1e-5)


def test_new_sources_are_drawn_as_in_a_new_network(trained: str) -> None:
    model, _ = initialise(trained, ["guitar", "vocals"])
    again, _ = initialise(trained, ["guitar", "vocals"])
    other, _ = initialise(trained, ["guitar", "vocals"], seed=1)
    old = separated(load(trained))
    new = separated(model)
    assert torch.equal(new, separated(again))
    assert not torch.allclose(new[0], separated(other)[0], rtol=0.1)
    assert all(not torch.allclose(new[0], source, rtol=0.1) for source in old)


def test_new_sources_have_the_weights_of_a_new_network(hybrid: str) -> None:
    """They have the scale with which the network initialises them."""
    model, _ = initialise(hybrid, ["guitar", "vocals"], seed=3)
    torch.manual_seed(3)
    fresh = HDemucs(["guitar", "vocals"], **HYBRID)
    for layer, channels in (("freq_decoder.4.conv_tr", 4), ("time_decoder.3.conv_tr", 2)):
        for name, axis in ((f"{layer}.weight", 1), (f"{layer}.bias", 0)):
            new, old = model.get_parameter(name), load(hybrid).get_parameter(name)
            assert torch.equal(
                new.narrow(axis, 0, channels), fresh.get_parameter(name).narrow(axis, 0, channels)
            )
            assert torch.equal(new.narrow(axis, channels, channels), old.narrow(axis, 3 * channels, channels))


def test_the_callers_randomness_is_left_alone(hybrid: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    initialise(hybrid, ["guitar"])
    assert torch.equal(torch.rand(1), expected)


def test_settings_are_carried_over(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors", sample_rate=32000, segment=3.5, freq_emb=0.1)
    model, _ = initialise(path, ["speech"])
    assert isinstance(model, HDemucs)
    assert (model.sample_rate, model.segment, model.config.freq_emb) == (32000, 3.5, 0.1)


def test_all_of_it_can_be_trained(trained: str) -> None:
    model, _ = initialise(trained, ["guitar", "vocals"])
    assert model.training
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert all(value.requires_grad and value.dtype == torch.float32 for value in model.parameters())
    mix = torch.randn(1, model.audio_channels, 4000, generator=torch.Generator().manual_seed(0))
    model(mix).square().mean().backward()
    torch.optim.Adam(model.parameters(), 1e-3).step()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    # A bias before a normalisation has no effect, and thus no gradient but rounding.
    assert {name for name in before if name.endswith("weight")} <= changed


def test_weights_that_cannot_be_trained_are_copied(hybrid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.inference_mode():
        served = load(hybrid).requires_grad_(False)
    monkeypatch.setattr("hdemucs.training.finetune.load_model", lambda spec: served)
    model, _ = initialise("served")
    assert model is not served
    model(torch.randn(1, 2, 4000)).square().mean().backward()
    torch.optim.Adam(model.parameters(), 1e-3).step()
    assert same_weights(served, load(hybrid))
    assert not same_weights(model, served)


def test_says_what_was_carried_over(hybrid: str) -> None:
    _, carried = initialise(hybrid, ["guitar", "vocals", "drums"])
    assert carried == Inherited(hybrid, ("vocals", "drums"), ("guitar",), ("bass", "other"))
    line = f"starts from {hybrid}; output layers kept: vocals, drums; new: guitar; dropped: bass, other"
    assert str(carried) == line
    _, carried = initialise(hybrid)
    assert str(carried) == f"starts from {hybrid}; output layers kept: {', '.join(SOURCES)}"


def test_a_member_of_a_bag(tmp_path: Path) -> None:
    for seed in (0, 1):
        saved(tmp_path / f"m{seed}.safetensors", seed)
    bag = tmp_path / "bag.yaml"
    bag.write_text("models: [m0, m1]\nsegment: 5\n")
    model, _ = initialise(f"{bag}#2")
    assert same_weights(model, load(tmp_path / "m1.safetensors"))
    assert model.segment == 5
    with pytest.raises(TrainingError, match=r"is a bag of 2 models, .* choose .*bag.yaml#1 to .*bag.yaml#2"):
        initialise(str(bag))
    for number in (0, 3):
        with pytest.raises(TrainingError, match=f"bag.yaml has no member {number}: choose .*#1 to .*#2"):
            initialise(f"{bag}#{number}")


def test_a_single_model_is_its_own_first_member(hybrid: str) -> None:
    model, _ = initialise(f"{hybrid}#1")
    assert same_weights(model, load(hybrid))
    with pytest.raises(TrainingError, match=r"has no member 2: choose .*#1$"):
        initialise(f"{hybrid}#2")


def test_a_path_may_have_a_number_in_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "run#2")
    (tmp_path / "run#2").rename(tmp_path / "run.safetensors")
    (tmp_path / "run#2").mkdir()
    (tmp_path / "run.safetensors").rename(tmp_path / "run#2" / "best.safetensors")
    model, _ = initialise(path)
    assert model.sources == SOURCES


@pytest.mark.parametrize(
    ("init", "error"),
    [
        ("no_such_model", UnknownModelError),
        ("./missing.safetensors#1", UnknownModelError),
        ("{file}", CheckpointError),
    ],
)
def test_errors_of_loading_come_through(init: str, error: type[Exception], tmp_path: Path) -> None:
    file = tmp_path / "text.safetensors"
    file.write_text("nothing")
    with pytest.raises(error):
        initialise(init.format(file=file))


@pytest.mark.parametrize(
    ("settings", "sources"),
    [({}, []), ({}, ["a", "a"]), ({"spectrogram": "amplitude", "norm_starts": 0}, ["a", "b", "c"])],
)
def test_refuses_sources_that_make_no_network(
    settings: dict[str, Any], sources: list[str], tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.safetensors", **settings)
    with pytest.raises(TrainingError, match=r"a.safetensors cannot be trained for the sources \["):
        initialise(path, sources)


def test_freeze_excludes_parameters_from_training(hybrid: str) -> None:
    model, _ = initialise(hybrid)
    count = freeze(model, ["freq_encoder.*", "*.conv_tr.bias", "freq_encoder.0.*"])
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {
        name
        for name, _ in model.named_parameters()
        if name.startswith("freq_encoder.") or name.endswith(".conv_tr.bias")
    }
    assert count == sum(value.numel() for name, value in model.named_parameters() if name in frozen)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    model(torch.randn(1, 2, 4000)).square().mean().backward()
    torch.optim.Adam(model.parameters(), 1e-3).step()
    for name, value in model.named_parameters():
        if name in frozen:
            assert torch.equal(value, before[name])
        elif name.endswith("weight"):
            assert not torch.equal(value, before[name])


def test_no_patterns_freeze_nothing(hybrid: str) -> None:
    model, _ = initialise(hybrid)
    assert freeze(model, []) == 0
    assert all(value.requires_grad for value in model.parameters())


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("encoder.*", "freq_encoder.*"),
        ("freq_encoder.0.conv.wieght", "freq_encoder.0.conv.weight"),
        ("time_decoder", "time_decoder.*"),
        ("TIME_decoder.0.*", "time_decoder.0.*"),
    ],
)
def test_freeze_refuses_a_pattern_without_match(hybrid: str, pattern: str, near: str) -> None:
    model, _ = initialise(hybrid)
    with pytest.raises(TrainingError) as error:
        freeze(model, ["time_encoder.*", pattern])
    assert str(error.value) == f"freeze: no parameter is named {pattern}; did you mean {near}?"
    assert all(value.requires_grad for value in model.parameters())


@pytest.mark.parametrize("patterns", [["*"], ["freq_*", "time_*", "embedding.*"]])
def test_freeze_refuses_to_freeze_everything(hybrid: str, patterns: list[str]) -> None:
    model, _ = initialise(hybrid)
    with pytest.raises(TrainingError, match="leaves nothing to train"):
        freeze(model, patterns)
    assert all(value.requires_grad for value in model.parameters())
