"""Averages of the weights, compared with those of the package `demucs`."""

from pathlib import Path

import pytest
import torch
from demucs.ema import ModelEMA
from torch import nn

from hdemucs.errors import TrainingError
from hdemucs.optim.averages import WeightAverage


class Counted(nn.Module):
    """A weight, a floating-point buffer and an integer buffer."""

    statistic: torch.Tensor
    count: torch.Tensor

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4, dtype=dtype))
        self.register_buffer("statistic", torch.zeros(5, dtype=dtype))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def change(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.weight.copy_(torch.randn(3, 4, generator=generator))
            self.statistic.copy_(torch.randn(5, generator=generator))
            self.count += 1


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_equals_the_average_of_demucs(decay: float) -> None:
    model = Counted()
    average = WeightAverage(model, decay)
    reference = ModelEMA(model, decay)  # type: ignore[no-untyped-call]
    for seed in range(50):
        model.change(seed)
        average.update()
        reference.update()  # type: ignore[no-untyped-call]
    assert average.count == reference.count
    for name, value in reference.state.items():
        assert torch.allclose(average.state[name], value, rtol=1e-5, atol=1e-6)


def test_is_not_biased_towards_the_initial_weights() -> None:
    model = Counted()
    average = WeightAverage(model, 0.9999)
    model.change(0)
    average.update()
    assert torch.equal(average.state["weight"], model.weight)
    first = model.weight.detach().clone()
    model.change(1)
    average.update()
    assert torch.allclose(average.state["weight"], (first + model.weight.detach()) / 2, atol=1e-4)


def test_shares_no_memory_with_the_model() -> None:
    model = Counted()
    average = WeightAverage(model, 0.9)
    model.change(0)
    assert (average.state["weight"] == 0).all()


def test_integer_buffers_are_copied() -> None:
    model = Counted()
    average = WeightAverage(model, 0.9)
    for seed in range(3):
        model.change(seed)
        average.update()
    assert average.state["count"] == 3
    assert average.state["count"].dtype == torch.int64


def test_continues_exactly_from_a_saved_state(tmp_path: Path) -> None:
    model = Counted()
    continued = WeightAverage(model, 0.9995)
    for seed in range(5):
        model.change(seed)
        continued.update()
    torch.save(continued.state_dict(), tmp_path / "average.pt")
    resumed = WeightAverage(Counted(), 0.9995)
    resumed.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
    resumed.model = model
    for seed in range(5, 10):
        model.change(seed)
        continued.update()
        resumed.update()
    assert resumed.count == continued.count
    for name, value in continued.state.items():
        assert torch.equal(resumed.state[name], value)


def test_a_model_loads_the_state() -> None:
    model = Counted()
    average = WeightAverage(model, 0.9)
    model.change(0)
    average.update()
    other = Counted()
    other.load_state_dict(average.state_dict()["state"])
    assert torch.equal(other.weight, model.weight)
    assert other.count == 1


def test_rejects_the_average_of_another_model() -> None:
    saved = WeightAverage(nn.Linear(3, 4), 0.9).state_dict()
    for other in (nn.Linear(3, 5), nn.Linear(3, 4, bias=False)):
        with pytest.raises(TrainingError, match="belongs to another model"):
            WeightAverage(other, 0.9).load_state_dict(saved)


def test_weights_in_half_precision_are_averaged_in_float32() -> None:
    model = Counted(torch.bfloat16)
    average = WeightAverage(model, 0.999)
    for value in range(1000):
        with torch.no_grad():
            model.weight.fill_(value % 2)
        average.update()
    assert average.state["weight"].dtype == torch.float32
    assert torch.allclose(average.state["weight"], torch.tensor(0.5), atol=1e-3)


def test_is_kept_on_the_requested_device() -> None:
    with torch.device("meta"):
        elsewhere = Counted()
    assert WeightAverage(elsewhere, 0.9).state["weight"].device.type == "meta"
    assert WeightAverage(Counted(), 0.9, "meta").state["weight"].device.type == "meta"
