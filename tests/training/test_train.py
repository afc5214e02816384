"""The command `hdemucs train`: whole runs on one process and on two, what they say, and errors."""

import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from hdemucs.checkpoint import load
from hdemucs.cli import main
from hdemucs.separator import Separator
from hdemucs.training.run import Run
from hdemucs.training.trainer import Trainer
from tests.training import processes
from tests.training.runs import (
    REPOSITORY,
    arguments,
    losses,
    resume,
    run_two_processes,
    same_run,
    train,
)
from tests.training.songs import RATE, SMALL, SOURCES, write_song, write_songs

CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


def test_a_run_learns_and_ends_with_a_model_that_separates(
    finished: Run, songs: Path, tmp_path: Path
) -> None:
    epochs = finished.history("epoch")
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert epochs[-1]["train"]["loss"] < 0.7 * epochs[0]["train"]["loss"]
    assert epochs[-1]["valid"]["sdr"]["bass"] > 5
    scores = epochs[-1]["valid"]
    assert set(scores["candidates"]) == {"weights", "step average 0.9", "epoch average 0.5"}
    assert scores["best"] == max(
        candidate["mean_sdr"] for epoch in epochs for candidate in epoch["valid"]["candidates"].values()
    )
    assert len(losses(finished)) == 3 * 8
    first = finished.history("step")[0]
    by_source = [first[f"loss/{source}"] for source in SOURCES]
    # Two sources of equal weight, and the penalty beside them.
    assert first["loss"] == pytest.approx(sum(by_source) / 2 + 1e-5 * first["penalty"], rel=1e-5)
    for file in (finished.log, finished.curves, finished.config):
        assert file.stat().st_size > 0
    assert any(finished.tensorboard.iterdir())

    song = songs / "valid" / "held out" / "bass.wav"
    assert main(["separate", str(song), "-n", str(finished.folder), "-o", str(tmp_path)]) == 0
    written = sorted(path.stem for path in tmp_path.rglob("*.wav"))
    assert written == sorted(SOURCES)


def test_the_best_model_scores_what_the_metrics_say(finished: Run, songs: Path) -> None:
    """The model file holds the selected weights, scored as a user would score them."""
    stems = [
        torch.from_numpy(soundfile.read(songs / "valid" / "held out" / f"{source}.wav", dtype="float32")[0].T)
        for source in SOURCES
    ]
    best = max(finished.history("epoch"), key=lambda epoch: epoch["valid"]["mean_sdr"])["valid"]
    separated = Separator(load(finished.best), overlap=0.25).separate(sum(stems), RATE)  # type: ignore[arg-type]
    for source, stem in zip(SOURCES, stems, strict=True):
        error = (separated[source] - stem).double().square().sum()
        ratio = 10 * torch.log10(stem.double().square().sum() / error)
        assert ratio.item() == pytest.approx(best["sdr"][source], abs=1e-3)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_each_published_config_loads_through_the_command(
    config: Path, songs: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [f"init={tiny}"] if config.stem == "finetune" else []
    assert main(["train", "--config", config.stem, f"data={songs}", "--check", *more]) == 0
    said = capsys.readouterr()
    assert "parameters for drums" in said.err
    assert f"- {songs}" in said.out


def test_check_ends_with_what_it_found(songs: Path) -> None:
    command = [sys.executable, "-m", "hdemucs", "train", "--config", "debug", f"data={songs}", "--check"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "parameters for" in lines[-1]
    assert any("for training" in line for line in lines[-5:-1])
    assert any("batch_size" in line for line in lines[:-5])


@pytest.mark.slow
def test_workers_change_nothing(first_epoch: Run, songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "workers")
    assert train(songs, run.folder, "excerpts.workers=2", "epochs=1") == 0
    assert same_run(run, first_epoch)


@pytest.mark.slow
def test_accumulated_parts_train_like_the_whole_batch(first_epoch: Run, songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "parts")
    assert train(songs, run.folder, "accumulate=2", "epochs=1") == 0
    expected = [loss for _, loss in losses(first_epoch)]
    assert [loss for _, loss in losses(run)] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_half_precision_trains(songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "bf16")
    assert train(songs, run.folder, "precision=bf16", "epochs=1", "steps_per_epoch=2") == 0
    assert all(parameter.dtype == torch.float32 for parameter in load(run.best).parameters())


@pytest.mark.slow
def test_two_processes_train_like_one(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes half of every batch, both get the gradients of the whole, and they write one run."""
    # Without augmentation, whose random numbers depend on the process.
    plain = [
        "excerpts.shift=0",
        "augment.flip_channels=false",
        "augment.flip_sign=false",
        "augment.gain=[1,1]",
        "augment.remix_group=0",
        "epochs=1",
    ]
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "backward", processes.saving_gradients)
        assert train(songs, one.folder, *plain) == 0
    run_two_processes(*arguments(songs, two.folder, *plain))
    examples, loss, gradients = torch.load(one.folder / "gradients_0.pt")
    for rank in (0, 1):
        share, same_loss, same = torch.load(two.folder / f"gradients_{rank}.pt")
        assert share == examples // 2
        assert same_loss == pytest.approx(loss, rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(same[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert len(losses(two)) == 8
    assert two.history("epoch")[0]["valid"]["mean_sdr"] is not None
    assert load(two.best).sources == list(SOURCES)


@pytest.mark.slow
def test_processes_wait_for_the_main_one_however_long_it_takes(tmp_path: Path) -> None:
    """The scan and the songs synthesised take longer than an exchange of gradients may."""
    songs = write_songs(tmp_path / "songs", count=1)
    run = Run(tmp_path / "run")
    more = ["synthesis.songs=1", "synthesis.seconds=1", "epochs=1", "steps_per_epoch=2"]
    run_two_processes(*arguments(songs, run.folder, *more))
    assert len(losses(run)) == 2
    assert "waiting for songs of epoch 1: 1 of 1 are left" in run.log.read_text()


@pytest.mark.slow
def test_fine_tuning_for_other_sources(finished: Run, tmp_path: Path) -> None:
    """A source that both have keeps its output layer, and a new one is learnt."""
    for index in range(3):
        write_song(tmp_path / "songs" / str(index), index, sources=("piano", "bass"))
    run = Run(tmp_path / "run")
    settings = [setting for setting in SMALL if not setting.startswith(("model.", "excerpts.sample_rate"))]
    settings += ["sources=[piano,bass]", "freeze=['*encoder*']", "epochs=1"]
    argv = ["train", "--config", "finetune", f"data={tmp_path / 'songs'}", f"init={finished.best}"]
    assert main([*argv, "-o", str(run.folder), *settings]) == 0
    model, origin = load(run.best), load(finished.best)
    assert model.sources == ["piano", "bass"]
    assert model.sample_rate == RATE
    weights, before = dict(model.named_parameters()), dict(origin.named_parameters())
    for name, value in weights.items():
        frozen = "encoder" in name
        assert torch.equal(value, before[name]) == frozen, name
    assert "output layers kept: bass; new: piano" in run.log.read_text()


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_batch(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run")
    assert train(songs, run.folder, "optimizer.lr=1e30") == 1
    said = capsys.readouterr().err
    assert "lower optimizer.lr" in said
    batch = load_file(run.folder / "bad_batch_0.safetensors")
    assert batch["stems"].shape[:2] == (4, len(SOURCES) + 1)
    assert batch["stems"].isfinite().all()


def test_a_run_is_not_overwritten(finished: Run, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = finished.best.read_bytes()
    assert train(songs, finished.folder) == 1
    assert "already holds a training run; resume it" in capsys.readouterr().err
    assert finished.best.read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        "epoch=3",
        "init=no_such_model",
        "validation.songs=[nobody]",
        "sources=[piano]",
        "loss.weights.piano=2",
    ],
)
def test_a_run_that_cannot_begin_leaves_nothing(songs: Path, tmp_path: Path, wrong: str) -> None:
    model = ["model=null"] if wrong.startswith("init") else []
    assert train(songs, tmp_path / "runs" / "run", wrong, *model) == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt(), torch.OutOfMemoryError()])
def test_a_run_that_fails_before_its_first_step_leaves_nothing_new(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """It can be started again in the same folder, with other settings."""
    mine = tmp_path / "notes.txt"
    mine.write_text("mine")

    def fail(self: Trainer, *_: object) -> None:
        raise error

    with monkeypatch.context() as patch, suppress(torch.OutOfMemoryError):
        patch.setattr(Trainer, "train_step", fail)
        assert train(songs, tmp_path) != 0
    assert [*tmp_path.iterdir()] == [mine]
    assert train(songs, tmp_path, "epochs=1", "steps_per_epoch=1") == 0


def test_two_processes_cannot_train_into_one_folder(
    first_epoch: Run, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with first_epoch.locked():
        before = first_epoch.metrics.read_bytes()
        for command in (resume(first_epoch), train(songs, first_epoch.folder)):
            assert command == 1
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 2
        assert all("is being trained into by another process" in line for line in said)
        assert first_epoch.metrics.read_bytes() == before
    assert resume(first_epoch) == 0


@pytest.mark.slow
def test_the_learning_rate_decays_over_the_whole_run(songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    settings = ("optimizer.lr=0.02", "optimizer.decay=0.5", "epochs=2", "steps_per_epoch=2")
    assert train(songs, run.folder, *settings) == 0
    assert [line["lr"] for line in run.history("step")] == pytest.approx([0.02, 0.02, 0.02, 0.01])


def test_the_time_left_is_said_once_and_words_stay_whole_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("epochs=1", "steps_per_epoch=1")
    songs = write_songs(tmp_path / "songs", count=1)
    (songs / "train" / "song 0" / "stems.yaml").write_text("silent: [vocls]")
    assert train(songs, tmp_path / "piped", *settings) == 0
    assert "time left" in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    run = Run(tmp_path / "terminal")
    assert train(songs, run.folder, *settings) == 0
    said = re.sub(r"\x1b\[[0-9;?]*\w", "", capsys.readouterr().err)
    logged = " ".join(line.rpartition(" INFO ")[2] for line in run.log.read_text().splitlines())
    assert "time left" in logged
    assert "time left" not in said
    words = set(re.split("[ /]", logged.partition("time left")[0]))
    assert "'vocls'," in words
    assert words <= set(re.split(r"\s|/", said))


def test_misuse_is_reported_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["train"],
        ["train", "--config", "debug", "--resume", "runs/x"],
        ["train", "--resume", "runs/x", "epochs=3"],
        ["train", "--resume", str(tmp_path)],
        ["train", "--config", "debug", f"data={tmp_path}"],
        ["train", "--config", "debig", f"data={tmp_path}"],
    ):
        assert main(argv) in (1, 2)
        said = capsys.readouterr().err
        assert said.startswith("hdemucs: ")
        assert "Traceback" not in said


def test_keys_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--keys"]) == 0
    said = capsys.readouterr().out
    assert "augment.repitch.probability" in said
    assert "optimizer.lr" in said


def test_files_of_a_run_keep_their_format(finished: Run) -> None:
    """Runs of earlier versions can be resumed, and their metrics be read."""
    lines = [json.loads(line) for line in finished.metrics.read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"step", "epoch"}
    place = {"kind", "epoch", "total_steps"}
    by_source = {"loss/drums", "loss/bass"}
    assert lines[0].keys() == place | {"step", "loss", "penalty", "gradient", "lr"} | by_source
    assert lines[-1].keys() == place | {"train", "valid"}
    assert lines[-1]["valid"].keys() == {
        "chosen",
        "best",
        "loss",
        "mean_sdr",
        "sdr",
        "penalty",
        "candidates",
    }
    state = torch.load(finished.checkpoint, weights_only=True)
    assert state.keys() == {"model", "optimizer", "candidates", "scaler", "epoch", "step", "total_loss"}
    assert state["candidates"].keys() == {"averages", "best"}
    average = state["candidates"]["averages"]["step average 0.9"]
    assert average.keys() == {"count", "state"}
    assert average["state"].keys() == state["model"].keys()
