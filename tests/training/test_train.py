"""The command `hdemucs train`: whole runs, gone on with after any end, and what stops one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file

from hdemucs.checkpoint import load
from hdemucs.cli import main
from hdemucs.separator import Separator
from hdemucs.training.run import Run
from tests.training.songs import RATE, SMALL, SOURCES, write_song, write_songs

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was never interrupted."""
    run = Run(tmp_path_factory.mktemp("runs") / "whole")
    assert train(songs, run.folder) == 0
    return run


def arguments(songs: Path, out: Path, *more: str) -> list[str]:
    return ["train", "--config", "debug", f"data={songs}", "-o", str(out), *SMALL, *more]


def train(songs: Path, out: Path, *more: str) -> int:
    return main(arguments(songs, out, *more))


def python(code: str, *argv: str, **options: Any) -> "subprocess.Popen[bytes]":
    """A process of Python with the tests' environment, one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def losses(run: Run) -> list[tuple[int, float]]:
    return [(line["total_steps"], line["loss"]) for line in run.history("step")]


def same_run(run: Run, other: Run) -> bool:
    """Whether two runs saw the same losses and scores, and ended with the same model."""
    first, second = load_file(run.best), load_file(other.best)
    return (
        losses(run) == losses(other)
        and run.history("epoch") == other.history("epoch")
        and all(torch.equal(first[name], second[name]) for name in first)
    )


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
    assert main(["separate", str(song), "-n", str(finished.best), "-o", str(tmp_path)]) == 0
    written = sorted(path.stem for path in tmp_path.rglob("*.wav"))
    assert written == sorted(SOURCES)


def test_the_best_model_scores_what_the_metrics_say(finished: Run, songs: Path) -> None:
    """The file holds the candidate that was chosen, and scores as a user would score it."""
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


def test_every_process_killed_at_any_time_repeats_the_uninterrupted_run(
    finished: Run, songs: Path, tmp_path: Path
) -> None:
    """Killed during a step, during validation, and twice in the middle of writing a checkpoint."""
    run = Run(tmp_path / "killed")
    kill = """
        import os, signal, sys, torch
        from hdemucs.cli import main
        from hdemucs.training import selection, trainer

        place, count = sys.argv[1], int(sys.argv[2])
        def dying(function):
            def call(*args, **kwargs):
                global count
                count -= 1
                if count < 0:
                    if place == "checkpoint":
                        args[1].write(b"half of a checkpoint")
                        args[1].flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)
            return call
        if place == "checkpoint":
            torch.save = dying(torch.save)
        elif place == "step":
            trainer.reconstruction = dying(trainer.reconstruction)
        else:
            selection.score_song = dying(selection.score_song)
        main(sys.argv[3:])
    """
    first = arguments(songs, run.folder, "checkpoint_minutes=0.0001")
    again = ["train", "--resume", str(run.folder)]
    for place, count, argv in [
        ("step", 6, first),
        ("checkpoint", 1, again),
        ("validation", 1, again),
        ("checkpoint", 0, again),
    ]:
        process = python(kill, place, str(count), *argv)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, place
    assert main(again) == 0
    assert same_run(run, finished)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupt_finishes_the_step_saves_and_can_be_gone_on_from(
    finished: Run, songs: Path, tmp_path: Path, workers: int
) -> None:
    """Ctrl-C in a terminal reaches the processes that read as well."""
    run = Run(tmp_path / "interrupted")
    process = python(
        "import sys; from hdemucs.cli import main; sys.exit(main())",
        *arguments(songs, run.folder, f"excerpts.workers={workers}"),
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(run.history("step")) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    assert b"--resume" in said
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert same_run(run, finished)


def test_half_a_line_of_metrics_is_no_line(finished: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.metrics.write_bytes(finished.metrics.read_bytes() + b'{"kind": "step", "total_st')
    assert losses(run) == losses(finished)


def test_workers_change_nothing(finished: Run, songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "workers")
    assert train(songs, run.folder, "excerpts.workers=2") == 0
    assert same_run(run, finished)


def test_accumulated_parts_train_as_the_whole_batch(finished: Run, songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "parts")
    assert train(songs, run.folder, "accumulate=2", "epochs=1") == 0
    whole = losses(finished)[: len(losses(run))]
    assert [loss for _, loss in losses(run)] == pytest.approx([loss for _, loss in whole], rel=1e-4)


def test_half_precision_trains(songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "bf16")
    assert train(songs, run.folder, "precision=bf16", "epochs=1") == 0
    assert all(parameter.dtype == torch.float32 for parameter in load(run.best).parameters())


def test_two_processes_have_the_gradients_of_one(songs: Path, tmp_path: Path) -> None:
    """Each takes half of the batch, and both get the gradient of the whole."""
    code = tmp_path / "gradients.py"
    code.write_text(
        textwrap.dedent(
            """
            import sys
            from pathlib import Path

            import torch
            from hdemucs.training.run import Run
            from hdemucs.training.start import check
            from hdemucs.training.trainer import Trainer

            out, settings = Path(sys.argv[1]), sys.argv[2:]
            config, model, songs = check("debug", settings)
            trainer = Trainer(config, model, songs, Run(out))
            keys = next(iter(trainer.order.batches(0)))
            examples = [trainer.excerpts(0)[key] for key in keys]
            stems = torch.stack([example[0] for example in examples])
            known = torch.stack([example[1] for example in examples])
            values = trainer.backward(stems, known)
            gradients = {name: value.grad for name, value in model.named_parameters()}
            rank = trainer.accelerator.process_index
            out.mkdir(exist_ok=True)
            torch.save((len(keys), values["loss"], gradients), out / f"{rank}.pt")
            """
        )
    )
    settings = [f"data={songs}", *SMALL]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    one = [sys.executable, str(code), str(tmp_path / "one"), *settings]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = [sys.executable, *launcher, str(code), str(tmp_path / "two"), *settings]
    for command in (one, two):
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    length, loss, gradients = torch.load(tmp_path / "one" / "0.pt")
    for rank in (0, 1):
        share, same_loss, same = torch.load(tmp_path / "two" / f"{rank}.pt")
        assert share == length // 2
        assert same_loss == pytest.approx(loss, rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(same[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_two_processes_train_one_run(songs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "hdemucs", *arguments(songs, run.folder, "epochs=1")]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    assert len(losses(run)) == 8
    assert run.history("epoch")[0]["valid"]["mean_sdr"] is not None
    assert load(run.best).sources == list(SOURCES)


def test_fine_tuning_for_other_sources(finished: Run, tmp_path: Path) -> None:
    """What both know keeps its output, and the new source is learnt."""
    for index in range(3):
        write_song(tmp_path / "songs" / str(index), index, sources=("piano", "bass"))
    run = Run(tmp_path / "run")
    settings = [setting for setting in SMALL if not setting.startswith(("model.", "excerpts.sample_rate"))]
    argv = ["train", "--config", "finetune", f"data={tmp_path / 'songs'}", f"init={finished.best}"]
    assert (
        main([*argv, "-o", str(run.folder), "sources=[piano,bass]", "freeze=['*encoder*']", *settings]) == 0
    )
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


def test_a_full_disk_keeps_the_last_checkpoint(songs: Path, tmp_path: Path, finished: Run) -> None:
    run = Run(tmp_path / "run")
    assert train(songs, run.folder, "epochs=1") == 0
    whole = run.checkpoint.read_bytes()
    text = run.config.read_text()
    run.config.write_text(text.replace("epochs: 1", "epochs: 3"))
    limited = """
        import resource, sys
        from hdemucs.cli import main
        limit = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        sys.exit(main(sys.argv[2:]))
    """
    process = python(limited, str(len(whole) // 2), "train", "--resume", str(run.folder))
    _, said = process.communicate()
    assert process.returncode == 1
    assert b"cannot be written" in said
    assert b"Traceback" not in said
    assert run.checkpoint.read_bytes() == whole
    assert not list(run.folder.glob(".*"))
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert losses(run) == losses(finished)


def test_a_run_is_not_overwritten(finished: Run, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = finished.best.read_bytes()
    assert train(songs, finished.folder) == 1
    assert "--resume" in capsys.readouterr().err
    assert finished.best.read_bytes() == before


def test_settings_changed_between_stop_and_resume_hold(songs: Path, tmp_path: Path) -> None:
    """With a rate of next to nothing the weights stay as they are."""
    run = Run(tmp_path / "changed")
    assert train(songs, run.folder, "epochs=1", "optimizer.lr=0.02") == 0
    before = torch.load(run.checkpoint, weights_only=True)["model"]
    settings = yaml.safe_load(run.config.read_text())
    settings["epochs"], settings["optimizer"]["lr"] = 2, 1e-12
    run.config.write_text(yaml.safe_dump(settings))
    assert main(["train", "--resume", str(run.folder)]) == 0
    after = torch.load(run.checkpoint, weights_only=True)
    assert after["epoch"] == 2
    for name, weight in after["model"].items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-9)


def test_the_rate_falls_to_zero_in_the_last_part(songs: Path, tmp_path: Path) -> None:
    long, short = Run(tmp_path / "long"), Run(tmp_path / "short")
    settings = ("optimizer.lr=0.02", "optimizer.decay=0.5", "epochs=2", "steps_per_epoch=4")
    assert train(songs, long.folder, *settings) == 0
    rates = [line["lr"] for line in long.history("step")]
    assert rates == pytest.approx([0.02, 0.02, 0.02, 0.02, 0.02, 0.015, 0.01, 0.005])
    assert train(songs, short.folder, *settings, "epochs=1") == 0
    assert [line["lr"] for line in short.history("step")] == pytest.approx([0.02, 0.02, 0.02, 0.01])


def test_gone_on_with_after_the_end_nothing_changes(finished: Run) -> None:
    before = losses(finished)
    assert main(["train", "--resume", str(finished.folder)]) == 0
    assert losses(finished) == before


def test_a_damaged_checkpoint_is_said_to_be_so(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path)
    run.config.write_bytes(finished.config.read_bytes())
    run.initial.write_bytes(finished.initial.read_bytes())
    run.checkpoint.write_bytes(finished.checkpoint.read_bytes()[:1000])
    assert main(["train", "--resume", str(tmp_path)]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_wrong_uses_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_metrics_are_json_lines(finished: Run) -> None:
    lines = [json.loads(line) for line in finished.metrics.read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"step", "epoch"}
