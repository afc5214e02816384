"""Checkpoint selection: which weights become the model."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from hdemucs.checkpoint import load
from hdemucs.model import Model, Network
from hdemucs.training.selection import CheckpointSelection
from hdemucs.training.validation import Scores, Validation
from tests.conftest import tiny_network


class Level(Validation):
    """Scores a model by the level of its weights, as if they were an SDR; so high levels are best."""

    def __init__(self, songs: Sequence[object] = ("a song",)) -> None:
        self.songs = songs  # type: ignore[assignment]

    def __call__(self, model: Model) -> Scores:
        level = level_of(model)
        return Scores(-level, {"drums": level, "bass": float("nan")})


def level_of(model: torch.nn.Module) -> float:
    return next(model.parameters()).flatten()[0].item()


def set_level(network: Network, level: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(level)


def select(selection: CheckpointSelection, network: Network, levels: Sequence[float]) -> list[dict | None]:
    """Records of epochs of one step each, after which the weights have these levels."""
    records = []
    for epoch, level in enumerate(levels, 1):
        set_level(network, level)
        selection.after_step()
        records.append(selection.after_epoch(epoch, epoch))
    return records


@pytest.mark.parametrize("criterion", ["sdr", "loss"])
def test_the_best_weights_so_far_become_the_model(tmp_path: Path, criterion: str) -> None:
    network, file = tiny_network(), tmp_path / "best.safetensors"
    selection = CheckpointSelection(network, Level(), file, per_step=[0.5], criterion=criterion)
    records = select(selection, network, [-4, -2, -3])
    assert [record and record["chosen"] for record in records] == ["weights", "weights", "step average 0.5"]
    sign = 1 if criterion == "sdr" else -1
    assert [record and sign * record["best"] for record in records] == [-4, -2, -2]
    assert level_of(load(file)) == -2


def test_an_average_may_be_the_best(tmp_path: Path) -> None:
    network, file = tiny_network(), tmp_path / "best.safetensors"
    selection = CheckpointSelection(network, Level(), file, per_epoch=[1.0])
    (_, record) = select(selection, network, [3, 1])
    assert record is not None
    assert record["chosen"] == "epoch average 1"
    assert record["candidates"]["weights"]["mean_sdr"] == 1
    assert record["candidates"]["epoch average 1"]["mean_sdr"] == 2
    assert level_of(load(file)) == 3


def test_without_validation_songs_the_first_average_is_the_model(tmp_path: Path) -> None:
    network, file = tiny_network(), tmp_path / "best.safetensors"
    selection = CheckpointSelection(network, Level(songs=[]), file, per_step=[1.0, 0.0])
    assert select(selection, network, [1, 3]) == [None, None]
    assert level_of(load(file)) == 2


def test_a_restored_selection_remembers_the_best(tmp_path: Path) -> None:
    network, file = tiny_network(), tmp_path / "best.safetensors"
    selection = CheckpointSelection(network, Level(), None, per_step=[0.5])
    select(selection, network, [5])
    assert not file.exists()
    restored = CheckpointSelection(network, Level(), file, per_step=[0.5])
    restored.load_state_dict(selection.state_dict())
    (record,) = select(restored, network, [4])
    assert record is not None
    assert record["best"] == 5
    assert not file.exists()
