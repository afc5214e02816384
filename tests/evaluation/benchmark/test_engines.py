"""Engines: museval's numbers and ours agree, and what museval needs is said before anything starts."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hdemucs.datasets import find_songs
from hdemucs.errors import EvaluationError, OptionError
from hdemucs.evaluation.benchmark.engines import METRICS, MusevalEngine, OwnEngine, find_engine
from hdemucs.evaluation.benchmark.methods import MixtureMethod
from hdemucs.evaluation.benchmark.report import read_report
from hdemucs.evaluation.benchmark.run import evaluate
from hdemucs.evaluation.benchmark.scores import score_song
from tests.evaluation.benchmark.conftest import Runs
from tests.evaluation.metrics.signals import music, separated
from tests.evaluation.reference import import_museval, stand_in_for_ffmpeg
from tests.evaluation.songs import RATE, SOURCES, write_song


def numbers(targets: list[dict[str, Any]]) -> torch.Tensor:
    """Scores in museval's schema as `[sources, windows, metrics]`."""
    return torch.tensor(
        [[[frame["metrics"][name] for name in METRICS] for frame in one["frames"]] for one in targets]
    )


@pytest.mark.slow
def test_engines_agree() -> None:
    """To 0.001 dB on music, in the same schema; a window in which a source is silent has no score."""
    import_museval()
    references = music(2, 2, 4 * RATE + 300, RATE)
    references[1, :, RATE : 2 * RATE] = 0
    estimates = separated(references)
    ours, theirs = (
        engine.targets(SOURCES, references, estimates, RATE)
        for engine in (OwnEngine(), MusevalEngine("0.4.1"))
    )
    torch.testing.assert_close(numbers(ours), numbers(theirs), rtol=0, atol=1e-3, equal_nan=True)
    assert numbers(ours)[:, 1].isnan().all()
    assert numbers(ours)[:, [0, 2, 3]].isfinite().all()
    for target in ours + theirs:
        for frame in target["frames"]:
            del frame["metrics"]
    assert ours == theirs


@pytest.mark.slow
def test_museval_scores_a_run(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_ffmpeg(tmp_path / "bin", monkeypatch)
    engine = find_engine("museval")
    outcomes = evaluate(MixtureMethod(), find_songs(runs.musdb), tmp_path / "out", engine=engine)
    assert [outcome.status for outcome in outcomes] == ["scored"] * 3
    theirs, ours = read_report(tmp_path / "out"), read_report(runs.mixture)
    assert theirs.title == "mixture, 3 songs, scored by museval 0.4.1"
    assert theirs.summary()["engine"] == "museval 0.4.1"
    for metric in METRICS:
        torch.testing.assert_close(theirs.by_song(metric), ours.by_song(metric), rtol=0, atol=1e-3)
    # Not a matter of the engine: museval has no such score.
    torch.testing.assert_close(theirs.full_track, ours.full_track)


def test_what_museval_refuses_is_one_line(tmp_path: Path) -> None:
    import_museval()
    write_song(tmp_path / "songs" / "A", 1.2, 0)
    (song,) = find_songs(tmp_path / "songs")
    estimates = song.references(SOURCES).numpy()
    estimates[0] = 0
    with pytest.raises(EvaluationError, match=r"^A: All the estimated sources should be non-silent"):
        score_song(MusevalEngine("0.4.1"), song, SOURCES, estimates, RATE, 0.0, tmp_path / "A.json")
    assert not (tmp_path / "A.json").exists()
    score_song(OwnEngine(), song, SOURCES, estimates, RATE, 0.0, tmp_path / "A.json")


def test_a_run_keeps_to_its_engine(runs: Runs) -> None:
    before = {path: path.read_bytes() for path in runs.mixture.rglob("*") if path.is_file()}
    with pytest.raises(OptionError, match=r"holds scores by hdemucs, not by museval 0\.4\.1; choose another"):
        evaluate(MixtureMethod(), find_songs(runs.musdb), runs.mixture, engine=MusevalEngine("0.4.1"))
    assert {path: path.read_bytes() for path in runs.mixture.rglob("*") if path.is_file()} == before


def test_museval_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "museval", None)
    with pytest.raises(OptionError, match=r"needs the package museval: pip install '\.\[museval\]'"):
        find_engine("museval")


def test_museval_needs_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As museval's own dependency says, in the package that is installed here."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("museval", "musdb", "stempeg"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match=r"needs the programs ffmpeg and ffprobe.*apt install ffmpeg"):
        find_engine("museval")


def test_engines_are_found_by_name() -> None:
    assert find_engine("hdemucs").name == "hdemucs"
    with pytest.raises(OptionError, match="no engine 'mir_eval'; choose hdemucs or museval"):
        find_engine("mir_eval")
