"""The objective with unknown stems, in parts of a batch, and with a penalty."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hdemucs.training.objective.losses import LOSSES
from hdemucs.training.objective.objective import Objective
from hdemucs.training.objective.penalty import SingularValuePenalty

SOURCES = ["drums", "bass", "vocals"]
WEIGHTS = {"bass": 0.5, "vocals": 2.0}


def objective(kind: str = "l1") -> Objective:
    return Objective(kind, SOURCES, WEIGHTS)


def batch(size: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Estimates that need a gradient, true stems, and which of them are known."""
    generator = torch.Generator().manual_seed(seed)
    estimates = torch.randn(size, 3, 2, 50, generator=generator).requires_grad_()
    stems = torch.randn(size, 3, 2, 50, generator=generator)
    return estimates, stems, torch.rand(size, 3, generator=generator) < 0.6


@pytest.mark.parametrize("kind", ["l1", "mse"])
def test_equals_the_loss_of_the_demucs_solver_if_all_stems_are_known(kind: str) -> None:
    """In `demucs` 4.1: mean error of each source, then their weighted mean."""
    estimates, stems, _ = batch()
    by_source = {"l1": F.l1_loss, "mse": F.mse_loss}[kind](estimates, stems, reduction="none")
    by_source = by_source.mean((2, 3)).mean(0)
    total, values = objective(kind)(estimates, stems, torch.ones(4, 3, dtype=torch.bool))
    weights = torch.tensor([1.0, 0.5, 2.0])
    assert torch.allclose(total, (by_source * weights).sum() / weights.sum(), rtol=1e-6)
    assert list(values) == ["loss/drums", "loss/bass", "loss/vocals"]
    assert torch.allclose(torch.stack(list(values.values())), by_source, rtol=1e-6)
    assert not any(value.requires_grad for value in values.values())


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_is_zero_for_perfect_estimates_only(kind: str) -> None:
    estimates, stems, _ = batch()
    errors = LOSSES[kind](estimates, stems)
    assert errors.shape == (4, 3)
    assert (errors > 0).all()
    assert (LOSSES[kind](stems, stems) == 0).all()


@given(seed=st.integers(0, 1000), parts=st.sampled_from([2, 3, 6]), kind=st.sampled_from(sorted(LOSSES)))
def test_parts_of_a_batch_add_up_to_the_whole(seed: int, parts: int, kind: str) -> None:
    """Whichever part the unknown stems are in: accumulated parts and several devices train alike."""
    estimates, stems, known = batch(6, seed)
    whole, _ = objective(kind)(estimates, stems, known)
    (gradient,) = torch.autograd.grad(whole, estimates)
    chunks = zip(estimates.chunk(parts), stems.chunk(parts), known.chunk(parts), strict=True)
    total = sum((objective(kind)(*chunk, batch_size=6)[0] for chunk in chunks), torch.zeros(()))
    assert torch.allclose(total, whole, rtol=1e-5)
    assert torch.allclose(torch.autograd.grad(total, estimates)[0], gradient, rtol=1e-5)


def test_an_unknown_stem_has_no_gradient() -> None:
    estimates, stems, known = batch()
    total, _ = objective()(estimates, stems, known)
    total.backward()
    assert estimates.grad is not None
    assert not known.all()
    assert (estimates.grad[~known] == 0).all()
    assert (estimates.grad[known] != 0).all()


def test_recorded_errors_are_means_over_the_examples_that_know_a_source() -> None:
    estimates, stems, _ = batch()
    known = torch.tensor(
        [[True, True, False], [False, True, False], [True, False, False], [False, True, False]]
    )
    _, values = objective()(estimates, stems, known)
    error = (estimates - stems).detach().abs().mean((2, 3))
    assert torch.allclose(values["loss/drums"], error[[0, 2], 0].mean())
    assert torch.allclose(values["loss/bass"], error[[0, 1, 3], 1].mean())
    assert values["loss/vocals"].isnan()


def test_without_known_stems_the_loss_is_zero() -> None:
    estimates, stems, known = batch()
    total, _ = objective()(estimates, stems, torch.zeros_like(known))
    total.backward()
    assert estimates.grad is not None
    assert total == 0
    assert (estimates.grad == 0).all()


def test_a_source_of_weight_zero_is_left_out() -> None:
    estimates, stems, known = batch()
    total, _ = Objective("l1", SOURCES, {"bass": 0.0})(estimates, stems, known)
    rest = [0, 2]
    without, _ = Objective("l1", ["drums", "vocals"])(estimates[:, rest], stems[:, rest], known[:, rest])
    assert torch.allclose(total, without)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("is_known", [True, False])
def test_an_estimate_that_is_not_finite_makes_the_loss_not_finite(value: float, is_known: bool) -> None:
    """Even if the stem is unknown: the network that estimated it is broken."""
    estimates, stems, _ = batch()
    known = torch.full((4, 3), is_known)
    with torch.no_grad():
        estimates[1, 2, 0, 7] = value
    total, _ = objective()(estimates, stems, known)
    assert not total.isfinite()


def test_estimates_in_half_precision_are_summed_in_float32() -> None:
    estimates, stems, known = batch()
    half = estimates.detach().bfloat16()
    total, _ = objective()(half, stems, known)
    assert total.dtype == torch.float32
    assert torch.equal(total, objective()(half.float(), stems, known)[0])


def test_the_penalty_is_added_once_per_batch() -> None:
    estimates, stems, known = batch()
    network = nn.Linear(20, 10, bias=False)
    penalty = SingularValuePenalty(weight=0.5, smallest=1)
    penalised = Objective("l1", SOURCES, WEIGHTS, penalty)
    plain, _ = objective()(estimates, stems, known)
    total, values = penalised(
        estimates, stems, known, network=network, generator=torch.Generator().manual_seed(1)
    )
    expected = penalty(network, torch.Generator().manual_seed(1))
    assert torch.equal(values["penalty"], expected.detach())
    assert torch.allclose(total, plain + 0.5 * expected)
    total.backward()
    assert network.weight.grad is not None
    without, values = penalised(estimates, stems, known)
    assert torch.equal(without, plain)
    assert "penalty" not in values
