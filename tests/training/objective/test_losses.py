"""The loss of the paper, with stems that are unknown."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hdemucs.training.objective.losses import LossKind, reconstruction

WEIGHTS = torch.tensor([1.0, 0.5, 2.0])


def batch(size: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Estimates that have a gradient, stems, and which are known."""
    generator = torch.Generator().manual_seed(seed)
    estimates = torch.randn(size, 3, 2, 50, generator=generator).requires_grad_()
    stems = torch.randn(size, 3, 2, 50, generator=generator)
    return estimates, stems, torch.rand(size, 3, generator=generator) < 0.6


@pytest.mark.parametrize("kind", ["l1", "mse"])
def test_is_the_solvers_loss_where_all_is_known(kind: Literal["l1", "mse"]) -> None:
    """As the training of `demucs` 4.1 has it: means by source, weighted."""
    estimates, stems, _ = batch()
    by_source = {"l1": F.l1_loss, "mse": F.mse_loss}[kind](estimates, stems, reduction="none")
    by_source = by_source.mean((2, 3)).mean(0)
    loss, parts = reconstruction(estimates, stems, torch.ones(4, 3, dtype=torch.bool), kind, WEIGHTS)
    assert torch.allclose(loss, (by_source * WEIGHTS).sum() / WEIGHTS.sum(), rtol=1e-6)
    assert torch.allclose(parts, by_source.detach(), rtol=1e-6)
    assert not parts.requires_grad


@given(seed=st.integers(0, 1000), parts=st.sampled_from([2, 3, 6]), kind=st.sampled_from(["l1", "mse"]))
def test_parts_of_a_batch_add_up(seed: int, parts: int, kind: LossKind) -> None:
    """Whatever part the unknown stems are in: accumulated batches and several devices train alike."""
    estimates, stems, known = batch(6, seed)
    whole, _ = reconstruction(estimates, stems, known, kind, WEIGHTS)
    (gradient,) = torch.autograd.grad(whole, estimates)
    chunks = zip(estimates.chunk(parts), stems.chunk(parts), known.chunk(parts), strict=True)
    mean = sum((reconstruction(*chunk, kind, WEIGHTS)[0] for chunk in chunks), torch.zeros(())) / parts
    assert torch.allclose(mean, whole, rtol=1e-5)
    assert torch.allclose(torch.autograd.grad(mean, estimates)[0], gradient, rtol=1e-5)


def test_an_unknown_stem_has_no_gradient() -> None:
    estimates, stems, known = batch()
    loss, _ = reconstruction(estimates, stems, known, "l1", WEIGHTS)
    loss.backward()
    assert estimates.grad is not None
    assert not known.all()
    assert (estimates.grad[~known] == 0).all()
    assert (estimates.grad[known] != 0).all()


def test_errors_by_source_are_of_the_examples_that_know_it() -> None:
    estimates, stems, _ = batch()
    known = torch.tensor(
        [[True, True, False], [False, True, False], [True, False, False], [False, True, False]]
    )
    _, parts = reconstruction(estimates, stems, known, "l1", WEIGHTS)
    error = (estimates - stems).detach().abs().mean((2, 3))
    assert torch.allclose(parts[0], error[[0, 2], 0].mean())
    assert torch.allclose(parts[1], error[[0, 1, 3], 1].mean())
    assert parts[2].isnan()


def test_nothing_known_is_no_loss() -> None:
    estimates, stems, known = batch()
    loss, _ = reconstruction(estimates, stems, torch.zeros_like(known), "l1", WEIGHTS)
    loss.backward()
    assert estimates.grad is not None
    assert loss == 0
    assert (estimates.grad == 0).all()


def test_a_weight_of_zero_leaves_a_source_out() -> None:
    estimates, stems, known = batch()
    loss, _ = reconstruction(estimates, stems, known, "l1", torch.tensor([1.0, 0.0, 1.0]))
    rest = [0, 2]
    without, _ = reconstruction(estimates[:, rest], stems[:, rest], known[:, rest], "l1", torch.ones(2))
    assert torch.allclose(loss, without)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("is_known", [True, False])
def test_an_estimate_that_is_not_finite_shows(value: float, is_known: bool) -> None:
    """Of unknown stems too: the network that made it is broken."""
    estimates, stems, _ = batch()
    known = torch.full((4, 3), is_known)
    with torch.no_grad():
        estimates[1, 2, 0, 7] = value
    loss, _ = reconstruction(estimates, stems, known, "l1", WEIGHTS)
    assert not loss.isfinite()


def test_estimates_in_half_precision_are_summed_in_float32() -> None:
    estimates, stems, known = batch()
    half = estimates.detach().bfloat16()
    loss, _ = reconstruction(half, stems, known, "l1", WEIGHTS)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, reconstruction(half.float(), stems, known, "l1", WEIGHTS)[0])
