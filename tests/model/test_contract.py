"""What every registered network and its configuration must do; a new one is covered by being registered."""

import copy
import json
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdemucs.apply import apply_model
from hdemucs.checkpoint import load, save
from hdemucs.model import NETWORKS, Bag, Network
from hdemucs.model.fast import prepare
from hdemucs.training.finetune import initialise
from tests.reference import randomise

SOURCES = ["a", "b"]

each_network = pytest.mark.parametrize("architecture", NETWORKS)


def tiny(architecture: str, sources: list[str] | None = None, **overrides: Any) -> Network:
    torch.manual_seed(0)
    network = NETWORKS[architecture]
    model = network(sources or SOURCES, **{**network.tiny, **overrides})
    randomise(model)
    return model.eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((actual - expected).abs().max() <= tolerance * expected.abs().max())


@each_network
@settings(deadline=None, max_examples=12)
@given(
    length=st.integers(1, 6000),
    batch=st.integers(1, 2),
    channels=st.integers(1, 2),
    sources=st.integers(1, 5),
)
def test_any_length_batch_channels_and_sources(
    architecture: str, length: int, batch: int, channels: int, sources: int
) -> None:
    names = [f"source {index}" for index in range(sources)]
    model = tiny(architecture, names, audio_channels=channels)
    assert model.valid_length(length) >= length
    assert model.min_length >= 1
    with torch.no_grad():
        out = model(noise(batch, channels, length))
    assert out.shape == (batch, sources, channels, length)
    assert out.isfinite().all()


@each_network
def test_silence_stays_quiet(architecture: str) -> None:
    model = NETWORKS[architecture](SOURCES, **NETWORKS[architecture].tiny).eval()
    with torch.no_grad():
        out = model(torch.zeros(1, 2, 5000))
    assert out.isfinite().all()
    assert out.abs().max() < 1e-3


@each_network
def test_examples_of_a_batch_do_not_affect_each_other(architecture: str) -> None:
    model = tiny(architecture)
    mix = noise(3, 2, 5000) * torch.tensor([1.0, 0.01, 3.0])[:, None, None]
    with torch.no_grad():
        batch, single = model(mix), torch.cat([model(one[None]) for one in mix])
    assert close(batch, single)


@each_network
def test_other_shapes_are_refused(architecture: str) -> None:
    model = tiny(architecture)
    for shape in [(2, 100), (1, 3, 100), (1, 2, 0)]:
        with pytest.raises(ValueError, match=r"a mixture must be \[batch, 2, samples\]"):
            model(torch.zeros(shape))


@each_network
def test_prepared_networks_equal_the_trained_ones(architecture: str) -> None:
    model = tiny(architecture)
    prepared, halved = prepare(model, torch.float32), prepare(model, torch.bfloat16)
    assert (prepared.config, prepared.training) == (model.config, False)
    for length in (1, 777, 5003):
        mix = noise(2, 2, length)
        with torch.inference_mode():
            expected, actual, rounded = model(mix), prepared(mix), halved(mix)
            assert torch.equal(prepared(mix), actual)
        assert close(actual, expected, 2e-6)
        assert rounded.dtype == torch.float32
        assert close(rounded, expected, 0.05)
        assert length == 1 or not close(rounded, expected, 1e-5)


@each_network
def test_preparing_a_network_leaves_it_alone(architecture: str) -> None:
    model = tiny(architecture)
    mix = noise(1, 2, 3000)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(mix)
        prepare(model, torch.bfloat16)(mix)
        assert torch.equal(model(mix), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    with torch.inference_mode():
        assert close(prepare(model, torch.float32)(mix), model(mix), 2e-6)


@each_network
def test_every_parameter_is_trained(architecture: str) -> None:
    model = tiny(architecture).train()
    model(noise(1, 2, 5000)).abs().mean().backward()
    untrained = [name for name, value in model.named_parameters() if value.grad is None]
    assert not untrained
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


@each_network
def test_configuration_is_saved_and_restored(architecture: str, tmp_path: Path) -> None:
    model = tiny(architecture, sample_rate=16000, segment=1.5)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert isinstance(loaded, Network)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert json.loads(json.dumps(model.config.as_dict()))["segment"] == 1.5
    with torch.no_grad():
        assert torch.equal(loaded(noise(1, 2, 3000)), model(noise(1, 2, 3000)))


@each_network
def test_building_from_the_configuration_and_copying(architecture: str) -> None:
    model = tiny(architecture)
    before = model.segment
    again = type(model).from_config(model.config)
    assert again.config == model.config
    assert {n: v.shape for n, v in again.state_dict().items()} == {
        n: v.shape for n, v in model.state_dict().items()
    }
    model.segment = 12
    assert (model.segment, model.config.segment, again.segment) == (12.0, 12.0, before)
    assert copy.deepcopy(model).config == model.config


@each_network
def test_fine_tuning_for_other_sources_keeps_the_outputs_of_the_old_ones(
    architecture: str, tmp_path: Path
) -> None:
    origin = tiny(architecture, ["a", "b", "c"])
    save(origin, tmp_path / "model.safetensors")
    model, inherited = initialise(str(tmp_path / "model.safetensors"), ["c", "new", "a"])
    assert (inherited.kept, inherited.new, inherited.dropped) == (("c", "a"), ("new",), ("b",))
    parameters = dict(model.named_parameters())
    assert all(parameters[name].shape[axis] % 3 == 0 for name, axis in model.source_axes().items())
    mix = noise(1, 2, 4000)
    with torch.no_grad():
        assert close(model.eval()(mix)[:, [0, 2]], origin(mix)[:, [2, 0]])


@each_network
def test_members_of_a_bag_and_application_to_a_track(architecture: str) -> None:
    first, second = (tiny(architecture, segment=seconds, sample_rate=8000) for seconds in (1, 2))
    bag = Bag([first, second], [[1, 3], [1, 0]], segment=0.5)
    assert (first.segment, second.segment) == (0.5, 0.5)
    mix = noise(2, 10_001)
    assert apply_model(bag, mix).shape == (2, 2, 10_001)
    mix = noise(1, 2, 3000)
    with torch.no_grad():
        a, b, both = first(mix), second(mix), bag(mix)
    assert close(both, torch.stack([(a[:, 0] + b[:, 0]) / 2, a[:, 1]], 1))


@each_network
def test_every_number_of_a_configuration_has_its_range(architecture: str) -> None:
    config: Any = NETWORKS[architecture].Config
    for item in fields(config):
        if item.type not in ("int", "float", int, float):
            continue
        for value in (item.metadata["least"] - 1, item.metadata["most"] + 1, 10**400, float("nan"), "4"):
            with pytest.raises(ValueError, match=f"^{item.name} must be") as caught:
                config(**{"sources": SOURCES, item.name: value})
            assert len(str(caught.value)) < 200


@each_network
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sources", []),
        ("sources", "drums"),
        ("sources", ["a", "a"]),
        ("sources", [1]),
        ("audio_channels", 0),
        ("audio_channels", True),
        ("audio_channels", 2.0),
        ("sample_rate", 0),
        ("sample_rate", "44100"),
        ("segment", 0),
        ("segment", float("nan")),
        ("segment", Fraction(1, 10**400)),
    ],
)
def test_settings_out_of_range_or_of_another_type_are_refused(
    architecture: str, name: str, value: object
) -> None:
    given: dict[str, Any] = {"sources": SOURCES, name: value}
    with pytest.raises(ValueError, match=f"^{name} must be") as caught:
        NETWORKS[architecture].Config(**given)
    assert len(str(caught.value)) < 200


@each_network
def test_settings_are_stored_as_their_declared_type(architecture: str) -> None:
    given: Any = {"sources": ["a", "b"], "segment": Fraction(39, 5), "sample_rate": 8000}
    config = NETWORKS[architecture].Config(**given)
    assert (config.sources, config.segment) == (("a", "b"), 7.8)
    with pytest.raises(AttributeError):
        config.segment = 3  # type: ignore[misc]
