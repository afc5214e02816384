"""Runs of the benchmark: resuming, failures, and runs that must not be mixed up."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hdemucs.datasets.songs import Song, find_songs
from hdemucs.errors import EvaluationError, OptionError
from hdemucs.evaluation.benchmark.methods import FolderMethod, MixtureMethod, ModelMethod, RatioMaskMethod
from hdemucs.evaluation.benchmark.report import read_report, write_report
from hdemucs.evaluation.benchmark.run import SongOutcome, evaluate
from hdemucs.evaluation.benchmark.scores import read_scores, scores_file
from hdemucs.model import HDemucs
from hdemucs.separator import Separator
from tests.evaluation.benchmark.conftest import Runs
from tests.evaluation.songs import RATE, SOURCES, write_song


def statuses(outcomes: list[SongOutcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_a_stopped_run_is_resumed(musdb: Path, tmp_path: Path, runs: Runs) -> None:
    class Stopped(MixtureMethod):
        def separate(self, song: Song) -> tuple[Tensor, int]:
            if song.name == "Song [2]":
                raise KeyboardInterrupt
            return super().separate(song)

    songs, out = find_songs(musdb), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stopped(), songs, out)
    before = scores_file(out, "Song [0]").read_bytes()
    assert not scores_file(out, "Song [2]").exists()
    announced: list[tuple[int, str]] = []
    outcomes = evaluate(MixtureMethod(), songs, out, progress=lambda *event: announced.append(event))
    assert statuses(outcomes) == ["kept", "kept", "scored"]
    assert announced == [(0, "Song [0]"), (1, "Song [1]"), (2, "Song [2]")]
    assert scores_file(out, "Song [0]").read_bytes() == before
    assert write_report(out).summary() == read_report(runs.mixture).summary()


def test_a_run_keeps_to_its_method(runs: Runs) -> None:
    with pytest.raises(OptionError, match="holds scores of mixture"):
        evaluate(RatioMaskMethod(), find_songs(runs.musdb), runs.mixture)


def test_a_run_keeps_to_its_settings(tmp_path: Path, runs: Runs) -> None:
    songs = find_songs(runs.musdb)[2:]
    evaluate(tiny_method(0), songs, tmp_path)
    other = tiny_method(0)
    other.settings["shifts"] = 2
    with pytest.raises(OptionError, match="holds scores of best with shifts=1, not with shifts=2; choose"):
        evaluate(other, songs, tmp_path)


def test_a_run_without_scores_may_begin_anew(musdb: Path, tmp_path: Path) -> None:
    (song,) = find_songs(musdb)[:1]
    (song.path / "mixture.wav").write_bytes(b"RIFF")
    assert statuses(evaluate(MixtureMethod(), [song], tmp_path)) == ["failed"]
    shutil.copy(song.path / "vocals.wav", song.path / "mixture.wav")
    (song,) = find_songs(musdb)[:1]
    assert statuses(evaluate(RatioMaskMethod(), [song], tmp_path)) == ["scored"]
    assert read_report(tmp_path).method == "oracle:irm"


def tiny_method(seed: int) -> ModelMethod:
    """A model that, as every trained one may, calls itself `best`."""
    torch.manual_seed(seed)
    model = HDemucs(
        SOURCES, channels=4, depth=5, n_fft=1024, attention_starts=99, sample_rate=RATE, segment=1
    )
    model.name = "best"
    return ModelMethod(Separator(model.eval(), overlap=0.1))


def test_a_run_keeps_to_its_weights(tmp_path: Path, runs: Runs) -> None:
    songs = find_songs(runs.musdb)[2:]
    evaluate(tiny_method(0), songs, tmp_path)
    assert statuses(evaluate(tiny_method(0), songs, tmp_path)) == ["kept"]
    with pytest.raises(OptionError, match="other weights, also named best; choose another folder"):
        evaluate(tiny_method(1), songs, tmp_path)


def test_a_run_keeps_to_its_songs(musdb: Path, tmp_path: Path) -> None:
    songs, out = find_songs(musdb), tmp_path / "out"
    evaluate(MixtureMethod(), songs[:2], out)
    assert statuses(evaluate(MixtureMethod(), songs, out)) == ["kept", "kept", "scored"]
    with pytest.raises(OptionError, match=r"Song \[0\] is not in this test set; choose another folder"):
        evaluate(MixtureMethod(), songs[1:], out)
    shutil.rmtree(musdb)
    write_song(musdb / "test" / "Song [0]", 2.0, 0)
    with pytest.raises(OptionError, match=r"Song \[0\] has changed since it was scored"):
        evaluate(MixtureMethod(), find_songs(musdb), out)


def test_a_run_of_an_older_version_goes_on(tmp_path: Path, runs: Runs) -> None:
    method = tiny_method(0)
    old = json.dumps({"method": "best", "settings": method.settings, "hdemucs": "0.1.0"})
    (tmp_path / "run.json").write_text(old)
    method.name = "finetune"
    songs = find_songs(runs.musdb)[2:]
    assert statuses(evaluate(method, songs, tmp_path)) == ["scored"]
    assert (tmp_path / "run.json").read_text() == old
    with pytest.raises(OptionError, match="holds scores of best"):
        evaluate(MixtureMethod(), songs, tmp_path)


def test_a_song_is_scored_while_the_next_is_separated(
    musdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scoring the first song waits for the separation of the second to begin."""
    second_began = threading.Event()

    class Announcing(MixtureMethod):
        def separate(self, song: Song) -> tuple[Tensor, int]:
            if song.name == "Song [1]":
                second_began.set()
            return super().separate(song)

    def score(*args: Any) -> None:
        assert second_began.wait(10)

    monkeypatch.setattr("hdemucs.evaluation.benchmark.run.score_song", score)
    assert statuses(evaluate(Announcing(), find_songs(musdb)[:2], tmp_path / "out")) == ["scored", "scored"]


def test_estimates_that_were_replaced_are_noticed(tmp_path: Path, runs: Runs) -> None:
    songs = find_songs(runs.musdb)
    estimates, out = tmp_path / "estimates", tmp_path / "out"
    shutil.copytree(runs.musdb / "test", estimates)
    assert statuses(evaluate(FolderMethod(estimates), songs[:2], out)) == ["scored"] * 2
    assert statuses(evaluate(FolderMethod(estimates), songs, out)) == ["kept", "kept", "scored"]
    os.utime(estimates / "Song [1]" / "vocals.wav", (1e9, 2e9))
    with pytest.raises(OptionError, match=r"Song \[1\] has changed since it was scored; choose another"):
        evaluate(FolderMethod(estimates), songs, out)
    # A run of version 0.1.0 does not know when its estimates were written.
    run = json.loads((out / "run.json").read_text())
    for facts in run["songs"].values():
        del facts["estimates"]
    (out / "run.json").write_text(json.dumps(run))
    assert statuses(evaluate(FolderMethod(estimates), songs, out)) == ["kept"] * 3


@pytest.mark.parametrize("content", ["", "[]", "{}", "3", '{"method": "mixture", "songs": [1]}'])
def test_a_damaged_run_file_is_one_line(content: str, tmp_path: Path, runs: Runs) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"run\.json does not describe a run"):
        evaluate(MixtureMethod(), find_songs(runs.musdb), tmp_path)


@pytest.mark.parametrize("broken", ["mixture", "vocals"])
def test_a_broken_song_does_not_stop_the_others(broken: str, musdb: Path, tmp_path: Path) -> None:
    (musdb / "test" / "Song [1]" / f"{broken}.wav").write_bytes(b"RIFF")
    outcomes = evaluate(MixtureMethod(), find_songs(musdb), tmp_path / "out")
    assert statuses(outcomes) == ["scored", "failed", "scored"]
    assert f"{broken}.wav" in str(outcomes[1].error)
    assert read_report(tmp_path / "out").songs == ["Song [0]", "Song [2]"]


def test_estimates_of_another_length_fail(tmp_path: Path, runs: Runs) -> None:
    songs = find_songs(runs.musdb)
    for song in songs:
        (tmp_path / "estimates" / song.name).mkdir(parents=True)
        soundfile.write(tmp_path / "estimates" / song.name / "vocals.wav", np.ones((RATE // 2, 2)), RATE)
    outcomes = evaluate(FolderMethod(tmp_path / "estimates"), songs, tmp_path / "out")
    assert statuses(outcomes) == ["failed"] * 3
    assert "different lengths" in str(outcomes[0].error)


def test_a_model_is_scored(tmp_path: Path, runs: Runs) -> None:
    method = tiny_method(0)
    song = find_songs(runs.musdb)[1]
    assert statuses(evaluate(method, [song], tmp_path, jobs=2)) == ["scored"]
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["method"] == method.name
    assert run["settings"] == {"segment": 1.0, "overlap": 0.1, "shifts": 1}
    estimates, _ = method.separate(song)
    references = song.references(method.sources(song)).double()
    errors = (references - estimates).square().sum((1, 2))
    expected = 10 * torch.log10(references.square().sum((1, 2)) / errors)
    scores = read_scores(scores_file(tmp_path, song.name)).full_track
    for source, value in zip(method.sources(song), expected.tolist(), strict=True):
        assert scores[source] == pytest.approx(value, abs=1e-3)


def test_jobs_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="jobs must be at least 1, not 0"):
        evaluate(MixtureMethod(), [], tmp_path / "out", jobs=0)
