"""Every optimiser in the registry."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from hdemucs.optim.factory import OPTIMIZERS, build_optimizer


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_each_optimiser_minimises_and_resumes_exactly(kind: str) -> None:
    def loss(parameter: nn.Parameter) -> torch.Tensor:
        return (parameter - torch.tensor([1.0, -2.0])).square().sum()

    def steps(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            loss(parameter).backward()
            optimizer.step()

    parameter = nn.Parameter(torch.zeros(2))
    optimizer = build_optimizer(kind, [parameter], lr=0.1)
    steps(optimizer, parameter, 20)
    assert loss(parameter) < 0.5 * loss(nn.Parameter(torch.zeros(2)))

    copy = nn.Parameter(parameter.detach().clone())
    resumed = build_optimizer(kind, [copy], lr=0.1)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    steps(optimizer, parameter, 5)
    steps(resumed, copy, 5)
    assert torch.equal(copy, parameter)
