"""The estimate of the largest singular values against the exact ones, and against the package `demucs`."""

import math

import pytest
import torch
from demucs.svd import svd_penalty
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hdemucs.model import HDemucs
from hdemucs.training.objective.penalty import exact_penalty, singular_value_penalty, weight_matrices
from tests.reference import reference_pair


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def spectrum(rows: int, columns: int, values: list[float]) -> Tensor:
    """A random matrix with these singular values."""
    left = torch.linalg.qr(torch.randn(rows, len(values), generator=seeded(1))).Q
    right = torch.linalg.qr(torch.randn(columns, len(values), generator=seeded(2))).Q
    return left * torch.tensor(values) @ right.t()


@pytest.mark.parametrize("architecture", ["HDemucs", "Demucs"])
def test_exact_is_that_of_the_published_runs(architecture: str) -> None:
    """`svd=base2` of `demucs`: which weights, and as which matrices."""
    reference, model = reference_pair(architecture, channels=8)
    smallest = 2**10
    published = {"min_size": smallest / 2**18, "convtr": True, "conv_only": False}
    expected = svd_penalty(reference, exact=True, **published)  # type: ignore[no-untyped-call]
    assert exact_penalty(model, smallest) == pytest.approx(expected.item(), rel=1e-5)


def test_exact_is_by_singular_values() -> None:
    model = nn.Sequential(nn.Conv1d(30, 40, 3), nn.ConvTranspose2d(20, 30, (4, 1)), nn.LSTM(30, 20))
    matrices = list(weight_matrices(model, 100))
    assert [tuple(matrix.shape) for matrix in matrices] == [(40, 90), (30, 80), (80, 30), (80, 20)]
    expected = sum(torch.linalg.svdvals(matrix)[0].item() ** 2 for matrix in matrices)
    assert exact_penalty(model, 100) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    rank=st.integers(1, 8),
    iterations=st.integers(0, 6),
    seed=st.integers(0, 1000),
)
def test_never_above_the_exact_value(rows: int, columns: int, rank: int, iterations: int, seed: int) -> None:
    model = linear(torch.randn(rows, columns, generator=seeded(seed)))
    estimate = singular_value_penalty(
        model, rank=rank, iterations=iterations, smallest=1, generator=seeded(seed)
    )
    assert 0 < estimate.item() <= exact_penalty(model, 1) * (1 + 1e-5)


@pytest.mark.parametrize("rank", [1, 6])
@pytest.mark.parametrize("shape", [(80, 200), (200, 80)])
def test_converges_with_iterations(rank: int, shape: tuple[int, int]) -> None:
    """Without a singular value that stands out, and whichever side is the longer one."""
    model = linear(torch.randn(shape, generator=seeded()))
    exact = torch.linalg.svdvals(model.weight.detach())[0].item() ** 2
    errors = [
        1
        - singular_value_penalty(model, rank=rank, iterations=n, smallest=1, generator=seeded(4)).item()
        / exact
        for n in (0, 2, 8, 200)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert abs(errors[-1]) < 1e-3


def test_more_vectors_come_closer() -> None:
    model = linear(torch.randn(80, 200, generator=seeded()))
    values = [
        singular_value_penalty(model, rank=rank, iterations=2, smallest=1, generator=seeded(4)).item()
        for rank in (1, 4, 16, 80, 500)
    ]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(exact_penalty(model, 1), rel=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 10])
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_is_svd_lowrank(rank: int, iterations: int) -> None:
    """torch's own, from the same random vectors, which it draws alike for square matrices."""
    matrix = torch.randn(60, 60, generator=seeded())
    torch.manual_seed(7)
    expected = torch.svd_lowrank(matrix, rank, iterations)[1][0] ** 2
    value = singular_value_penalty(
        linear(matrix), rank=rank, iterations=iterations, smallest=1, generator=seeded(7)
    )
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_gradient_is_the_exact_one_where_a_value_stands_out(rank: int, shape: tuple[int, int]) -> None:
    model = linear(spectrum(*shape, [3.0, 1.0, 0.9, 0.5]))
    singular_value_penalty(model, rank=rank, iterations=6, smallest=1, generator=seeded()).backward()
    u, s, vh = torch.linalg.svd(model.weight.detach(), full_matrices=False)
    exact = 2 * s[0] * torch.outer(u[:, 0], vh[0])
    assert model.weight.grad is not None
    assert torch.allclose(model.weight.grad, exact, atol=1e-4)


def test_gradient_goes_through_the_views_of_convolutions() -> None:
    """A step against it makes the exact penalty smaller, by its squared length in first order."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 6, (3, 1)), nn.ConvTranspose1d(6, 4, 8), nn.LSTM(5, 5, bidirectional=True)
    )
    before = exact_penalty(model, 20)
    singular_value_penalty(model, rank=4, iterations=50, smallest=20, generator=seeded()).backward()
    step, length = 1e-3, 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                length += parameter.grad.square().sum().item()
                parameter.sub_(parameter.grad, alpha=step)
    assert before - exact_penalty(model, 20) == pytest.approx(step * length, rel=0.02)


def test_only_large_and_trained_weights_count() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 9), nn.GroupNorm(1, 1000))
    assert len(list(weight_matrices(model, 100))) == 1
    model[0].requires_grad_(False)
    none = singular_value_penalty(model, smallest=100)
    assert none.item() == exact_penalty(model, 100) == 0
    assert none.shape == ()


def test_draws_anew_in_each_call_and_repeats_with_the_seed() -> None:
    model = HDemucs(["a", "b"], channels=8)
    generator = seeded(3)
    first, second = (singular_value_penalty(model, smallest=1000, generator=generator) for _ in range(2))
    assert first.item() != second.item()
    assert first.item() == singular_value_penalty(model, smallest=1000, generator=seeded(3)).item()


def test_autocast_leaves_it_in_float32() -> None:
    model = linear(torch.randn(64, 64, generator=seeded()))
    plain = singular_value_penalty(model, rank=2, smallest=1, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        under = singular_value_penalty(model, rank=2, smallest=1, generator=seeded())
    assert torch.equal(plain, under)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_shows(rank: int, value: float) -> None:
    weight = torch.randn(10, 10, generator=seeded())
    weight[3, 4] = value
    model = linear(weight)
    assert not singular_value_penalty(model, rank=rank, smallest=1).isfinite()
    assert math.isnan(exact_penalty(model, 1))


@pytest.mark.parametrize("rank", [1, 3])
def test_a_weight_of_zeros_has_no_penalty_and_no_gradient(rank: int) -> None:
    model = linear(torch.zeros(10, 12))
    value = singular_value_penalty(model, rank=rank, smallest=1)
    value.backward()
    assert model.weight.grad is not None
    assert value.item() == 0
    assert (model.weight.grad == 0).all()
