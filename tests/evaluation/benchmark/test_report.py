"""Reports of runs: read back, compared, plotted, and read by museval."""

import errno
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdemucs.datasets import MUSDB_TEST
from hdemucs.errors import EvaluationError, OutputError
from hdemucs.evaluation.benchmark.comparison import compare, paired_test
from hdemucs.evaluation.benchmark.engines import METRICS
from hdemucs.evaluation.benchmark.plots import write_plots
from hdemucs.evaluation.benchmark.report import published, read_report, write_report
from hdemucs.evaluation.benchmark.scores import scores_file
from tests.evaluation.benchmark.conftest import Runs
from tests.evaluation.reference import import_museval
from tests.evaluation.songs import SOURCES


def score_file_content(**sources: float) -> str:
    """Scores of a song with one window for each source, as museval writes them."""
    return json.dumps(
        {
            "targets": [
                {"name": name, "frames": [{"metrics": dict.fromkeys(("SDR", "SIR", "ISR", "SAR"), score)}]}
                for name, score in sources.items()
            ]
        }
    )


def test_summary_and_table_of_museval_files(tmp_path: Path) -> None:
    """Medians over songs, the mean over sources, and no MDX score, which museval does not compute."""
    for song, score in (("a", 1.0), ("b", 4.0), ("c", math.nan)):
        (tmp_path / f"{song}.json").write_text(score_file_content(vocals=score, drums=2 * score))
    report = write_report(tmp_path)
    assert report.sources == ["drums", "vocals"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == report.summary()
    assert (summary["method"], summary["songs"]) == (tmp_path.name, 3)
    assert summary["sources"]["vocals"]["SIR"] == 2.5
    assert summary["mean"]["SDR"] == 3.75
    assert summary["mean"]["SDR (MDX)"] is None
    table = (tmp_path / "table.md").read_text()
    assert "| vocals | 2.50 | 2.50 | 2.50 | 2.50 | - |" in table
    assert "Published" not in table


def test_only_musdbs_test_set_stands_beside_published_results(tmp_path: Path) -> None:
    for song in MUSDB_TEST:
        content = score_file_content(drums=1.0, bass=2.0, other=3.0, vocals=4.0)
        (tmp_path / f"{song}.json").write_text(content)
    table = read_report(tmp_path).markdown()
    assert f"| this run ({tmp_path.name}) | 2.50 |" in table
    for row in published():
        assert row["method"] in table
    (tmp_path / "Zeno - Signs.json").unlink()
    assert "Published" not in read_report(tmp_path).markdown()


def test_museval_reads_the_scores(runs: Runs) -> None:
    report = read_report(runs.mixture)
    for index, song in enumerate(report.songs):
        scores = json.loads(scores_file(runs.mixture, song).read_text())
        table = import_museval().json2df(scores, song)
        for number, source in enumerate(report.sources):
            sdr = table[(table.target == source) & (table.metric == "SDR")].score
            assert np.nanmedian(sdr) == pytest.approx(float(report.by_song("SDR")[index, number]), abs=1e-4)


def test_runs_are_compared_on_common_songs(runs: Runs, tmp_path: Path) -> None:
    text = compare(runs.mixture, runs.oracle).markdown()
    assert text.startswith("2 songs, dB: A is mixture, B is oracle:irm\n")
    a, b = read_report(runs.mixture), read_report(runs.oracle)
    for metric in METRICS:
        differences = (b.by_song(metric) - a.by_song(metric)[1:]).mean(0)
        for source, value in zip(b.sources, differences.tolist(), strict=True):
            (row,) = (line for line in text.splitlines() if line.startswith(f"| {metric} | {source} |"))
            assert f"| {value:.2f} |" in row
    with pytest.raises(EvaluationError, match="has no scores"):
        compare(runs.mixture, tmp_path / "nowhere")
    (tmp_path / "another.json").write_text(score_file_content(vocals=1.0))
    with pytest.raises(EvaluationError, match="no song or source in common"):
        compare(runs.mixture, tmp_path)


def test_runs_of_two_engines_are_compared(runs: Runs, tmp_path: Path) -> None:
    """Scores by museval itself, of one song only."""
    content = json.loads(scores_file(runs.mixture, "Song [0]").read_text())
    del content["hdemucs"]
    (tmp_path / "Song [0].json").write_text(json.dumps(content))
    table = compare(runs.mixture, tmp_path)
    assert table.title == (
        f"1 song, dB: A is mixture scored by hdemucs, B is {tmp_path.name} scored by museval 0.4.1"
    )
    assert [row[4] for row in table.rows] == ["0.00"] * len(METRICS) * len(SOURCES)
    assert read_report(tmp_path).title == f"{tmp_path.name}, 1 song, scored by museval 0.4.1"


def test_scores_of_two_engines_do_not_mix(runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(runs.mixture, tmp_path / "mixed")
    file = scores_file(tmp_path / "mixed", "Song [1]")
    content = json.loads(file.read_text())
    content["hdemucs"]["engine"] = "museval 0.4.1"
    file.write_text(json.dumps(content))
    with pytest.raises(EvaluationError, match=r"Song \[1\]\.json has scores by museval 0\.4\.1, where other"):
        read_report(tmp_path / "mixed")


def test_infinite_scores_are_shown_and_are_null_in_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(score_file_content(vocals=math.inf))
    report = write_report(tmp_path)
    assert report.summary()["sources"]["vocals"]["SDR"] is None
    assert "Infinity" not in (tmp_path / "summary.json").read_text()
    assert "| vocals | inf | inf |" in report.markdown()


def test_songs_must_be_scored_for_the_same_sources(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(score_file_content(vocals=1.0))
    (tmp_path / "b.json").write_text(score_file_content(drums=1.0))
    with pytest.raises(EvaluationError, match=r"b\.json has scores of drums, where other songs have vocals"):
        read_report(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"targets": [{"name": "a", "frames": [{}]}]}'])
def test_files_without_scores_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "song.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"song\.json does not hold scores; remove it"):
        read_report(tmp_path)


def test_paired_test() -> None:
    """For five equal differences, 2 of 32 choices of signs reach the mean; for forty, hardly any."""
    assert paired_test(torch.ones(5)) == pytest.approx(2 / 32, abs=0.005)
    assert paired_test(torch.tensor([1.0, -1.0])) == pytest.approx(1.0)
    assert paired_test(torch.linspace(0.5, 1, 40)) < 1e-4


def test_plots_are_images(runs: Runs, tmp_path: Path) -> None:
    paths = write_plots(read_report(runs.mixture), tmp_path)
    assert [path.name for path in paths] == ["sdr_by_source.png", "sdr_by_song.png", "sdr_over_time.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in paths)


def test_plots_on_a_full_disk(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def savefig(self: Figure, file: Any, **_: Any) -> None:
        target = file if hasattr(file, "write") else file.open("wb")
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(OutputError, match=r"sdr_by_source\.png: cannot be written \(No space"):
        write_plots(read_report(runs.mixture), tmp_path)
    assert [*tmp_path.iterdir()] == []
