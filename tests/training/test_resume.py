"""`hdemucs train --resume`: runs repeated exactly after any kind of end, and changes that are refused."""

import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
import yaml

from hdemucs.errors import TrainingError
from hdemucs.training.config.load import load_config
from hdemucs.training.config.schema import fixed_settings
from hdemucs.training.run import Run
from hdemucs.training.trainer import Trainer
from tests.training.runs import (
    arguments,
    copied,
    losses,
    resume,
    run_python,
    same_run,
    train,
)


@pytest.mark.slow
def test_a_run_killed_at_any_time_repeats_the_uninterrupted_one(
    finished: Run, songs: Path, tmp_path: Path
) -> None:
    """Killed during a step, during validation, and twice while writing a checkpoint."""
    run = Run(tmp_path / "killed")
    run_python("tests.training.processes", *arguments(songs, run.folder, "checkpoint_minutes=0.0001"))
    assert resume(run) == 0
    assert same_run(run, finished)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_interrupt_finishes_the_step_and_the_run_can_be_resumed(
    first_epoch: Run,
    songs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    """Ctrl-C in a terminal reaches the processes that read, too."""
    run = Run(tmp_path / "interrupted")
    train_step = Trainer.train_step

    def interrupted(self: Trainer, stems: torch.Tensor, known: torch.Tensor) -> dict[str, float]:
        if self.total_steps == 2:
            for worker in multiprocessing.active_children():
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return train_step(self, stems, known)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        assert train(songs, run.folder, "epochs=1", f"excerpts.workers={workers}") == 130
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "resume" in said
    assert len(losses(run)) == 3
    assert resume(run) == 0
    assert same_run(run, first_epoch)


def test_a_partial_line_of_metrics_is_skipped(finished: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.metrics.write_bytes(finished.metrics.read_bytes() + b'{"kind": "step", "total_st')
    assert losses(run) == losses(finished)


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(
    finished: Run, first_epoch: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit on the size of files stands for the full disk."""
    run = copied(first_epoch, tmp_path, epochs=2)
    checkpoint = run.checkpoint.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(checkpoint) // 2, before[1]))
    try:
        assert resume(run) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    assert "checkpoint.pt: cannot be written" in said
    assert "Traceback" not in said
    assert run.checkpoint.read_bytes() == checkpoint
    assert not list(run.folder.glob(".*"))
    assert resume(run) == 0
    assert losses(run) == losses(finished)[:16]


OTHER_VALUES = {
    "averages.per_batch": [0.5],
    "averages.per_epoch": [],
    "excerpts.audio_channels": 1,
    "excerpts.sample_rate": 16000,
    "freeze": ["freq_encoder.*"],
    "init": "hdemucs_small",
    "model": {"architecture": "Demucs"},
    "optimizer.kind": "sgd",
    "seed": 1,
    "sources": ["drums", "bass"],
    "validation.select": "loss",
    "validation.share": 0.5,
    "validation.songs": ["song 1"],
}
"""Another value for each setting that cannot change."""


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_a_setting_that_cannot_change_is_refused_by_name(first_epoch: Run, tmp_path: Path, name: str) -> None:
    """The state of an optimiser would be taken for that of another, averages would have none, and so on."""
    run = copied(first_epoch, tmp_path)
    settings = fixed_settings(load_config(str(run.config)))
    assert OTHER_VALUES.keys() == settings.keys()
    run.refuse_changes(settings)
    with pytest.raises(TrainingError, match=rf"config.yaml: {name}.* was .* when the run began .*: init="):
        run.refuse_changes({**settings, name: OTHER_VALUES[name]})


def test_a_changed_setting_is_refused_before_a_run_resumes(
    first_epoch: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(first_epoch, tmp_path, epochs=2, seed=1)
    files = {path: path.read_bytes() for path in (run.checkpoint, run.metrics)}
    assert resume(run) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "seed was 0 when the run began and is 1 now; set it back, or start a new run" in said
    assert {path: path.read_bytes() for path in files} == files


def test_epochs_keep_their_number_of_steps(
    first_epoch: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise steps would be counted twice, and their metrics discarded."""
    run = copied(first_epoch, tmp_path, epochs=2, steps_per_epoch=4)
    assert resume(run) == 1
    assert "an epoch has 4 steps now, and had 8 before" in capsys.readouterr().err
    assert losses(run) == losses(first_epoch)


@pytest.mark.slow
def test_settings_changed_before_resuming_take_effect(first_epoch: Run, tmp_path: Path) -> None:
    """With a learning rate of next to nothing, the weights stay as they are."""
    settings = yaml.safe_load(first_epoch.config.read_text())["optimizer"]
    run = copied(first_epoch, tmp_path, epochs=2, optimizer={**settings, "lr": 1e-12, "betas": [0.5, 0.6]})
    before = torch.load(run.checkpoint, weights_only=True)["model"]
    assert resume(run) == 0
    after = torch.load(run.checkpoint, weights_only=True)
    assert after["epoch"] == 2
    assert after["optimizer"]["param_groups"][0]["betas"] == (0.5, 0.6)
    for name, weight in after["model"].items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-9)


def test_resuming_a_finished_run_changes_nothing(finished: Run) -> None:
    before = losses(finished)
    assert resume(finished) == 0
    assert losses(finished) == before


def test_a_damaged_checkpoint_is_reported(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(finished, tmp_path)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])
    assert resume(run) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    run = Run(tmp_path)
    run.checkpoint.touch()
    monkeypatch.setattr(torch, "load", refuse)  # root may read everything
    with pytest.raises(TrainingError, match=r"checkpoint\.pt may not be read; ask its owner"):
        run.load_checkpoint()
