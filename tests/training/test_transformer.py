"""Fine-tuning a Hybrid Transformer Demucs: its segment, and its dropout when a run is resumed."""

from pathlib import Path

import pytest
import yaml

from hdemucs.checkpoint import load, save
from hdemucs.cli import main
from hdemucs.model import HTDemucs
from hdemucs.separator import Separator
from hdemucs.training.run import Run
from tests.training.runs import losses, resume
from tests.training.songs import RATE, SMALL, write_songs

MORE = ("averages.per_epoch=[]", "penalty.weight=0", "steps_per_epoch=2")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("data"), count=2)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a transformer with dropout, for the sources `drums`, `bass` and `vocals`."""
    path = tmp_path_factory.mktemp("models") / "transformer.safetensors"
    settings = {**HTDemucs.tiny, "sample_rate": RATE, "segment": 0.3, "dropout": 0.1}
    save(HTDemucs(["vocals", "drums", "bass"], **settings), path)
    return path


@pytest.mark.slow
def test_fine_tuning_a_transformer_sets_its_segment_and_resumes_with_the_same_dropout(
    songs: Path, transformer: Path, tmp_path: Path
) -> None:
    """From then on, it separates segments as long as the excerpts that it was trained on."""
    settings = [setting for setting in SMALL if not setting.startswith(("model.", "excerpts.sample_rate"))]
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    for run, epochs in ((whole, 2), (parts, 1)):
        words = [*settings, *MORE, f"init={transformer}", f"epochs={epochs}"]
        argv = [
            "train",
            "--config",
            "finetune",
            f"data={songs}",
            "sources=[drums,bass]",
            "-o",
            str(run.folder),
        ]
        assert main([*argv, *words]) == 0
    settings_of_parts = yaml.safe_load(parts.config.read_text())
    parts.config.write_text(yaml.safe_dump({**settings_of_parts, "epochs": 2}))
    assert resume(parts) == 0
    assert losses(parts) == losses(whole)

    model = load(whole.best)
    assert isinstance(model, HTDemucs)
    assert (model.sources, model.segment, model.config.dropout) == (["drums", "bass"], 0.5, 0.1)
    stems = Separator(whole.best).separate(songs / "valid" / "held out" / "bass.wav")
    assert list(stems) == ["drums", "bass"]
