"""The estimated singular value penalty, compared with the exact one and with the package `demucs`."""

import math

import pytest
import torch
from demucs.svd import svd_penalty
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hdemucs.model import HDemucs
from hdemucs.training.objective.penalty import SingularValuePenalty
from tests.reference import reference_pair


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def spectrum(rows: int, columns: int, values: list[float]) -> Tensor:
    """Random matrix with the given singular values."""
    left = torch.linalg.qr(torch.randn(rows, len(values), generator=seeded(1))).Q
    right = torch.linalg.qr(torch.randn(columns, len(values), generator=seeded(2))).Q
    return left * torch.tensor(values) @ right.t()


@pytest.mark.parametrize("architecture", ["HDemucs", "Demucs"])
def test_exact_equals_the_published_penalty(architecture: str) -> None:
    """Same weights, reshaped to the same matrices, as `svd=base2` of `demucs`."""
    reference, model = reference_pair(architecture, channels=8)
    smallest = 2**10
    published = {"min_size": smallest / 2**18, "convtr": True, "conv_only": False}
    expected = svd_penalty(reference, exact=True, **published)  # type: ignore[no-untyped-call]
    assert SingularValuePenalty(smallest=smallest).exact(model) == pytest.approx(expected.item(), rel=1e-5)


def test_exact_is_the_sum_of_squared_singular_values() -> None:
    model = nn.Sequential(nn.Conv1d(30, 40, 3), nn.ConvTranspose2d(20, 30, (4, 1)), nn.LSTM(30, 20))
    matrices = list(SingularValuePenalty(smallest=100).matrices(model))
    assert [tuple(matrix.shape) for matrix in matrices] == [(40, 90), (30, 80), (80, 30), (80, 20)]
    expected = sum(torch.linalg.svdvals(matrix)[0].item() ** 2 for matrix in matrices)
    assert SingularValuePenalty(smallest=100).exact(model) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    rank=st.integers(1, 8),
    iterations=st.integers(0, 6),
    seed=st.integers(0, 1000),
)
def test_estimate_is_never_above_the_exact_value(
    rows: int, columns: int, rank: int, iterations: int, seed: int
) -> None:
    model = linear(torch.randn(rows, columns, generator=seeded(seed)))
    estimate = SingularValuePenalty(rank=rank, iterations=iterations, smallest=1)(model, seeded(seed))
    assert 0 < estimate.item() <= SingularValuePenalty(smallest=1).exact(model) * (1 + 1e-5)


@pytest.mark.parametrize("rank", [1, 6])
@pytest.mark.parametrize("shape", [(80, 200), (200, 80)])
def test_converges_with_iterations(rank: int, shape: tuple[int, int]) -> None:
    """Even if no singular value stands out, and whichever side is longer."""
    model = linear(torch.randn(shape, generator=seeded()))
    exact = torch.linalg.svdvals(model.weight.detach())[0].item() ** 2
    errors = [
        1 - SingularValuePenalty(rank=rank, iterations=n, smallest=1)(model, seeded(4)).item() / exact
        for n in (0, 2, 8, 200)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert abs(errors[-1]) < 1e-3


def test_a_higher_rank_is_more_accurate() -> None:
    model = linear(torch.randn(80, 200, generator=seeded()))
    values = [
        SingularValuePenalty(rank=rank, iterations=2, smallest=1)(model, seeded(4)).item()
        for rank in (1, 4, 16, 80, 500)
    ]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(SingularValuePenalty(smallest=1).exact(model), rel=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 10])
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_equals_svd_lowrank(rank: int, iterations: int) -> None:
    """torch draws the same random vectors for square matrices."""
    matrix = torch.randn(60, 60, generator=seeded())
    torch.manual_seed(7)
    expected = torch.svd_lowrank(matrix, rank, iterations)[1][0] ** 2
    value = SingularValuePenalty(rank=rank, iterations=iterations, smallest=1)(linear(matrix), seeded(7))
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_gradient_is_exact_where_a_singular_value_stands_out(rank: int, shape: tuple[int, int]) -> None:
    model = linear(spectrum(*shape, [3.0, 1.0, 0.9, 0.5]))
    SingularValuePenalty(rank=rank, iterations=6, smallest=1)(model, seeded()).backward()
    u, s, vh = torch.linalg.svd(model.weight.detach(), full_matrices=False)
    exact = 2 * s[0] * torch.outer(u[:, 0], vh[0])
    assert model.weight.grad is not None
    assert torch.allclose(model.weight.grad, exact, atol=1e-4)


def test_gradient_reaches_reshaped_weights() -> None:
    """To first order, a step against the gradient lowers the exact penalty by its squared norm."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 6, (3, 1)), nn.ConvTranspose1d(6, 4, 8), nn.LSTM(5, 5, bidirectional=True)
    )
    before = SingularValuePenalty(smallest=20).exact(model)
    SingularValuePenalty(rank=4, iterations=50, smallest=20)(model, seeded()).backward()
    step, length = 1e-3, 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                length += parameter.grad.square().sum().item()
                parameter.sub_(parameter.grad, alpha=step)
    assert before - SingularValuePenalty(smallest=20).exact(model) == pytest.approx(step * length, rel=0.02)


def test_only_large_trainable_weights_are_penalised() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 9), nn.GroupNorm(1, 1000))
    assert len(list(SingularValuePenalty(smallest=100).matrices(model))) == 1
    model[0].requires_grad_(False)
    none = SingularValuePenalty(smallest=100)(model)
    assert none.item() == SingularValuePenalty(smallest=100).exact(model) == 0
    assert none.shape == ()


def test_draws_afresh_in_each_call_and_repeats_with_the_seed() -> None:
    model = HDemucs(["a", "b"], channels=8)
    generator = seeded(3)
    first, second = (SingularValuePenalty(smallest=1000)(model, generator) for _ in range(2))
    assert first.item() != second.item()
    assert first.item() == SingularValuePenalty(smallest=1000)(model, seeded(3)).item()


def test_stays_in_float32_under_autocast() -> None:
    model = linear(torch.randn(64, 64, generator=seeded()))
    plain = SingularValuePenalty(rank=2, smallest=1)(model, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        under = SingularValuePenalty(rank=2, smallest=1)(model, seeded())
    assert torch.equal(plain, under)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_makes_the_penalty_not_finite(rank: int, value: float) -> None:
    weight = torch.randn(10, 10, generator=seeded())
    weight[3, 4] = value
    model = linear(weight)
    assert not SingularValuePenalty(rank=rank, smallest=1)(model).isfinite()
    assert math.isnan(SingularValuePenalty(smallest=1).exact(model))


@pytest.mark.parametrize("rank", [1, 3])
def test_a_zero_weight_has_no_penalty_and_no_gradient(rank: int) -> None:
    model = linear(torch.zeros(10, 12))
    value = SingularValuePenalty(rank=rank, smallest=1)(model)
    value.backward()
    assert model.weight.grad is not None
    assert value.item() == 0
    assert (model.weight.grad == 0).all()
