"""What users of the networks rely on, whatever the weights."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hdemucs.model import Bag, Demucs, HDemucs, Network

SMALL = {"channels": 4, "depth": 5, "n_fft": 1024, "attention_starts": 99}


def small(**overrides: object) -> HDemucs:
    torch.manual_seed(0)
    return HDemucs(**{"sources": ["a", "b"], **SMALL, **overrides}).eval()  # type: ignore[arg-type]


@settings(deadline=None, max_examples=25)
@given(
    length=st.integers(1, 6000),
    batch=st.integers(1, 2),
    channels=st.integers(1, 2),
    sources=st.integers(1, 5),
    waveform=st.booleans(),
)
def test_any_length_channels_and_sources(
    length: int, batch: int, channels: int, sources: int, waveform: bool
) -> None:
    names = [f"source {index}" for index in range(sources)]
    model: Network
    if waveform:
        model = Demucs(names, channels, channels=4, depth=3, norm_starts=2, attention_starts=99).eval()
    else:
        model = small(sources=names, audio_channels=channels)
    with torch.no_grad():
        out = model(torch.randn(batch, channels, length))
    assert out.shape == (batch, sources, channels, length)
    assert out.isfinite().all()


@pytest.mark.parametrize("model", [small(), Demucs(["a"], channels=4, depth=2, attention_starts=99)])
def test_silence_stays_quiet(model: Network) -> None:
    with torch.no_grad():
        out = model.eval()(torch.zeros(1, 2, 5000))
    assert out.isfinite().all()
    assert out.abs().max() < 1e-3


@pytest.mark.parametrize("model", [small(), Demucs(["a"], channels=4, depth=2, attention_starts=99)])
def test_batch_changes_nothing_but_rounding(model: Network) -> None:
    mix = torch.randn(3, 2, 5000) * torch.tensor([1.0, 0.01, 3.0])[:, None, None]
    with torch.no_grad():
        together = model.eval()(mix)
        alone = torch.cat([model(one[None]) for one in mix])
    assert torch.allclose(together, alone, atol=1e-5 * float(alone.abs().max()))


@pytest.mark.parametrize("model", [small(), Demucs(["a"], channels=4, depth=2, attention_starts=99)])
def test_refuses_other_shapes(model: Network) -> None:
    for shape in [(2, 100), (1, 3, 100), (1, 2, 0)]:
        with pytest.raises(ValueError, match=r"a mixture must be \[batch, 2, samples\]"):
            model(torch.zeros(shape))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sources": []}, "sources"),
        ({"sources": ["a", "a"]}, "sources"),
        ({"n_fft": 1000}, "power of two"),
        ({"depth": 3}, "too small"),
        ({"spectrogram": "phase"}, "spectrogram must be one of complex, amplitude"),
        ({"residual": "somewhere"}, "residual must be one of"),
        ({"bands": [0.5, 0.2]}, "bands"),
        ({"bands": [0.5], "norm_starts": 0}, "bands"),
        ({"old_padding": True, "hybrid": False}, "old_padding"),
        ({"spectrogram": "amplitude", "wiener_iters": 1, "audio_channels": 3}, "Wiener"),
        ({"channels": 5, "attention_starts": 0}, "divisible"),
    ],
)
def test_refuses_settings_that_make_no_network(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**overrides)


@pytest.mark.parametrize("cls", [HDemucs, Demucs])
def test_arguments_are_attributes(cls: type[Network]) -> None:
    """Checkpoints rely on it."""
    model = cls(["a"], channels=4, attention_starts=99)
    for name in inspect.signature(cls).parameters:
        assert hasattr(model, name)


@pytest.mark.parametrize("n_fft", [128, 512, 1024, 2048, 4096])
def test_window_sizes(n_fft: int) -> None:
    model = small(n_fft=n_fft, depth=7)
    with torch.no_grad():
        assert model(torch.randn(1, 2, 3001)).isfinite().all()


def test_initial_weights_are_rescaled() -> None:
    """Deviation d becomes sqrt(d * 0.1), so all lie between the default and 0.1."""
    torch.manual_seed(0)
    conv = small(channels=32).get_submodule("freq_encoder.0.conv")
    assert isinstance(conv, nn.Conv2d)
    fan_in = conv.weight[0].numel()
    default = 1 / math.sqrt(3 * fan_in)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(default * 0.1), rel=0.05)


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


def test_bag_is_the_weighted_mean() -> None:
    first, second = small(), small(norm_starts=2)
    bag = Bag([first, second], [[1, 3], [1, 0]], segment=7)
    mix = torch.randn(1, 2, 3000)
    with torch.no_grad():
        a, b, both = first(mix), second(mix), bag(mix)
    assert torch.allclose(both[:, 0], (a[:, 0] + b[:, 0]) / 2, atol=1e-6)
    assert torch.allclose(both[:, 1], a[:, 1], atol=1e-6)
    assert (first.segment, second.segment, bag.segment) == (7, 7, 7)
    assert [model for model, _ in bag.members([1])] == [first]


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ([], None, "at least one"),
        ([small(), small(sources=["a", "c"])], None, "same sources"),
        ([small(), small(sample_rate=8000)], None, "same sample_rate"),
        ([small()], [[1, 0]], "each source"),
        ([small()], [[1, -1]], "negative"),
        ([small()], [[1]], "rows and columns"),
        ([small()], [[1, 1], [1, 1]], "rows and columns"),
    ],
)
def test_bag_refuses(models: list[Network], weights: list[list[float]] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bag(models, weights)
