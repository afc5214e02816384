"""What is special to one network, and bags; `test_contract.py` has what all networks share."""

import math

import pytest
import torch
from torch import nn

from hdemucs.model import Bag, HDemucs, HTDemucs, Network


def small(**overrides: object) -> HDemucs:
    torch.manual_seed(0)
    return HDemucs(**{"sources": ["a", "b"], **HDemucs.tiny, **overrides}).eval()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"n_fft": 1000}, "power of two"),
        ({"depth": 3}, "too small"),
        ({"spectrogram": "phase"}, "spectrogram must be one of complex, amplitude"),
        ({"residual": "somewhere"}, "residual must be one of"),
        ({"bands": [0.5, 0.2]}, "bands"),
        ({"bands": [0.5], "norm_starts": 0}, "layers with bands"),
        ({"old_padding": True, "hybrid": False}, "old_padding"),
        ({"spectrogram": "amplitude", "wiener_iters": 1, "audio_channels": 3}, "Wiener"),
        ({"channels": 3}, "residual branches need at least 4 channels, not 3"),
        ({"channels": 5, "attention_starts": 0}, "divisible"),
    ],
)
def test_contradictory_settings_are_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**overrides)


@pytest.mark.parametrize("n_fft", [128, 512, 1024, 2048, 4096])
def test_window_sizes(n_fft: int) -> None:
    model = small(n_fft=n_fft, depth=7)
    with torch.no_grad():
        assert model(torch.randn(1, 2, 3001)).isfinite().all()


def test_initial_weights_are_rescaled() -> None:
    """A standard deviation d becomes sqrt(d * 0.1), between torch's default and 0.1."""
    torch.manual_seed(0)
    conv = small(channels=32).get_submodule("freq_encoder.0.conv")
    assert isinstance(conv, nn.Conv2d)
    fan_in = conv.weight[0].numel()
    default = 1 / math.sqrt(3 * fan_in)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(default * 0.1), rel=0.05)


@pytest.mark.slow
def test_training_reduces_the_loss() -> None:
    model = small(channels=8).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    time = torch.arange(8000)
    tones = torch.stack([torch.sin(0.03 * time), torch.sin(0.4 * time)])
    sources = tones[None, :, None].expand(1, 2, 2, -1)
    losses = []
    for _ in range(20):
        loss = (model(sources.sum(1)) - sources).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


def test_only_members_with_weight_are_named() -> None:
    first, second = small(), small(norm_starts=2)
    bag = Bag([first, second], [[1, 3], [1, 0]])
    assert [model for model, _ in bag.members(["b"])] == [first]


def test_a_bag_of_some_sources_separates_nothing_else() -> None:
    first, second = small(), small(norm_starts=2)
    bag = Bag([first, second], [[0, 3], [0, 1]], sources=["b"])
    assert bag.sources == ["b"]
    mix = torch.randn(1, 2, 3000)
    with torch.no_grad():
        a, b, both = first(mix), second(mix), bag(mix)
    assert torch.allclose(both, (0.75 * a + 0.25 * b)[:, 1:], atol=1e-6)


def transformer(**overrides: object) -> HTDemucs:
    torch.manual_seed(0)
    return HTDemucs(**{"sources": ["a", "b"], **HTDemucs.tiny, **overrides}).eval()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"n_fft": 1000}, "power of two"),
        ({"depth": 3}, "depth 3 is too large for the frequencies of n_fft 256"),
        ({"heads": 0}, "heads must be from 1"),
        ({"heads": 5}, "multiple of 4 and of heads 5, not 12"),
        ({"bottom_channels": 6, "heads": 1}, "multiple of 4 and of heads 1, not 6"),
        ({"bottom_channels": 0}, "multiple of 4 and of heads 3, not 16"),
        ({"dropout": 1.0}, "dropout must be from 0 to 0.99"),
        ({"layers": 0}, "layers must be from 1"),
        ({"sparse": True}, "unexpected keyword argument"),
    ],
)
def test_contradictory_settings_of_a_transformer_are_refused(
    overrides: dict[str, object], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        transformer(**overrides)


def test_a_transformer_takes_its_segment_and_no_more() -> None:
    model = transformer(segment=0.1)
    assert (model.longest_segment, model.valid_length(1), model.valid_length(4410)) == (0.1, 4410, 4410)
    mix = torch.randn(1, 2, 4411)
    with torch.no_grad():
        short, padded = model(mix[..., :1000]), model(nn.functional.pad(mix[..., :1000], (0, 3410)))
        assert torch.equal(short, padded[..., :1000])
        with pytest.raises(ValueError, match=r"at most 4410 samples, the 0\.1 s .* not 4411"):
            model(mix)
        model.segment = 0.2
        assert model(mix).shape == (1, 2, 2, 4411)


def test_dropout_is_for_training_only() -> None:
    model = transformer(dropout=0.5)
    mix = torch.randn(1, 2, 3000)
    with torch.no_grad():
        assert torch.equal(model(mix), model(mix))
        model.train()
        assert not torch.equal(model(mix), model(mix))


def test_a_bag_sets_the_segment_as_far_as_its_models_take_it() -> None:
    bag = Bag([small(segment=40), transformer(segment=7.8)], segment=20)
    assert [model.segment for model in bag.models] == [20, 7.8]
    assert bag.longest_segment == 7.8
    assert Bag([small()]).longest_segment is None


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ([], None, "at least one"),
        ([small(), small(sources=["a", "c"])], None, "same sources"),
        ([small(), small(sample_rate=8000)], None, "same sample_rate"),
        ([small()], [[1, 0]], "each source"),
        ([small()], [[1, -1]], "negative"),
        ([small()], [[1]], "rows"),
        ([small()], [[1, 1], [1, 1]], "rows"),
    ],
)
def test_bags_that_make_no_sense_are_refused(
    models: list[Network], weights: list[list[float]] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Bag(models, weights)
