"""The training benchmark compares equal penalties where it says so, and names them where they differ."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from demucs import svd
from torch import nn

from hdemucs.training.config.load import load_config
from hdemucs.training.objective.penalty import SingularValuePenalty


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[3] / "scripts" / "benchmark_training.py"
    spec = importlib.util.spec_from_file_location("benchmark_training", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_equal_penalties_are_equal(benchmark: ModuleType, tmp_path: Path) -> None:
    reference: Any = svd
    torch.manual_seed(0)
    layers = [nn.Conv1d(64, 512, 8), nn.ConvTranspose1d(512, 64, 8), nn.LSTM(256, 256), nn.Conv1d(8, 8, 8)]
    network = nn.ModuleList([*layers, nn.Linear(600, 500)])
    settings = load_config("hdemucs_musdb", [f"data={tmp_path}"]).penalty
    ours = SingularValuePenalty(settings.weight, settings.rank, settings.iterations, settings.smallest)
    assert len(list(ours.matrices(network))) == 5
    theirs = reference.svd_penalty(network, exact=True, **benchmark.PENALTIES["demucs"])
    assert ours.exact(network) == pytest.approx(theirs.item(), rel=1e-4)
    assert (settings.rank, settings.iterations) == (100, 4)
    assert benchmark.PENALTIES["demucs"].items() >= {"dim": 100, "niters": 4}.items()


def test_each_table_says_which_penalties_it_compares(benchmark: ModuleType) -> None:
    results = {
        package: [{"seconds": seconds, "memory": 8.0}]
        for package, seconds in (("hdemucs", 10.0), ("demucs", 40.0), ("demucs-default", 20.0))
    }
    equal, published = benchmark.tables(results).split("\n\nPublished")
    assert "both: rank 100, 4 iterations" in equal
    assert "x4.00 as fast" in equal
    assert "demucs: rank 1, 2 iterations, convolutions" in published
    assert "x2.00 as fast" in published
