"""Report of a run: scores of all songs, their summary, and tables, beside published results on MusDB.

Letters in shapes: S sources, P windows.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from hdemucs.datasets import MUSDB_TEST, STEM_STREAMS
from hdemucs.errors import EvaluationError
from hdemucs.evaluation.benchmark.engines import METRICS, OwnEngine
from hdemucs.evaluation.benchmark.identity import method_name
from hdemucs.evaluation.benchmark.scores import read_scores
from hdemucs.evaluation.benchmark.tables import ScoreTable, decibels, songs_in_words
from hdemucs.evaluation.metrics import mean_over_tracks, median_over_tracks, median_over_windows
from hdemucs.files import write_whole

PUBLISHED = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class BenchmarkReport:
    """Scores of one run.

    Attributes:
        method: Name of the method that was scored.
        engine: Name of the engine that computed BSS Eval.
        songs: Names of the songs.
        sources: Names of the sources, sorted.
        windows: For each song, BSS Eval of its windows: dB `[S, P]` by metric.
        full_track: SDR of full tracks as in the MDX challenge, dB `[songs, S]`.
    """

    method: str
    engine: str
    songs: list[str]
    sources: list[str]
    windows: Sequence[Mapping[str, Tensor]]
    full_track: Tensor

    @property
    def title(self) -> str:
        """What was scored, and by which engine if it is not this library's own."""
        by = "" if self.engine == OwnEngine.name else f", scored by {self.engine}"
        return f"{self.method}, {songs_in_words(len(self.songs))}{by}"

    def by_song(self, metric: str) -> Tensor:
        """Medians over windows of SDR, ISR, SIR or SAR, dB `[songs, S]`."""
        return torch.stack([median_over_windows(scores[metric]) for scores in self.windows])

    def scores(self) -> dict[str, dict[str, float]]:
        """Scores in dB by source and by metric, and their means over sources as those of `mean`.

        BSS Eval is the median over songs of medians over windows (SiSEC), SDR (MDX) the mean over songs.
        """
        columns = {metric: median_over_tracks(self.by_song(metric)) for metric in METRICS}
        columns["SDR (MDX)"] = mean_over_tracks(self.full_track)
        rows = {
            source: {metric: float(column[index]) for metric, column in columns.items()}
            for index, source in enumerate(self.sources)
        }
        return {**rows, "mean": {metric: float(column.nanmean()) for metric, column in columns.items()}}

    def summary(self) -> dict[str, Any]:
        """What was scored, and `scores`, for JSON: None where there are none, or infinite ones."""
        *sources, (_, mean) = [
            (name, {metric: _rounded(score) for metric, score in row.items()})
            for name, row in self.scores().items()
        ]
        return {
            "method": self.method,
            "engine": self.engine,
            "songs": len(self.songs),
            "sources": dict(sources),
            "mean": mean,
        }

    def tables(self) -> list[ScoreTable]:
        """The summary, and on MusDB's test set the published results with this run among them.

        On other songs, or on some of MusDB's only, a score says nothing beside published ones.
        """
        scores = self.scores()
        own = [[name, *map(decibels, row.values())] for name, row in scores.items()]
        tables = [ScoreTable(f"{self.title}, dB", ["source", *scores["mean"]], own)]
        if set(self.songs) == MUSDB_TEST and {"mixture", *self.sources} == set(STEM_STREAMS):
            others = [[row["method"], decibels(row["overall"]), row["where"]] for row in published()]
            here = [f"this run ({self.method})", decibels(scores["mean"]["SDR"]), ""]
            title = "Published, MusDB-HQ test set, mean of SDR, dB:"
            tables.append(ScoreTable(title, ["method", "SDR", "from"], [here, *others]))
        return tables

    def markdown(self) -> str:
        """All tables in Markdown."""
        return "\n".join(table.markdown() for table in self.tables())


def published() -> list[dict[str, Any]]:
    """Published results: the method, its overall SDR in dB, and where the number was read."""
    rows: list[dict[str, Any]] = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    return rows


def read_report(out: Path) -> BenchmarkReport:
    """Read the scores of a run.

    Args:
        out: Folder that `evaluate` wrote, or any folder of museval's JSON files.

    Raises:
        EvaluationError: The folder has no scores, a file is damaged, or songs have different sources or
            engines.
    """
    folder = out / "tracks" if (out / "tracks").is_dir() else out
    files = {file.stem: file for file in sorted(folder.glob("*.json"))}
    if not files:
        raise EvaluationError(f"{folder} has no scores; evaluate a method into {out} first")
    songs = {name: read_scores(file) for name, file in files.items()}
    first = next(iter(songs.values()))
    sources = sorted(first.windows)
    windows, full_track = [], []
    for name, scores in songs.items():
        if sorted(scores.windows) != sources:
            raise EvaluationError(
                f"{files[name]} has scores of {', '.join(scores.windows)}, where other songs have "
                f"{', '.join(sources)}"
            )
        if scores.engine != first.engine:
            raise EvaluationError(
                f"{files[name]} has scores by {scores.engine}, where other songs have them by {first.engine}"
            )
        windows.append(
            {metric: torch.stack([scores.windows[s][metric] for s in sources]) for metric in METRICS}
        )
        full_track.append([scores.full_track.get(source, float("nan")) for source in sources])
    method = method_name(out)
    return BenchmarkReport(method, first.engine, list(songs), sources, windows, torch.tensor(full_track))


def write_report(out: Path) -> BenchmarkReport:
    """Write `summary.json` and `table.md` into the folder of a run, and return its report."""
    report = read_report(out)
    write_whole(out / "summary.json", json.dumps(report.summary(), indent=2))
    write_whole(out / "table.md", report.markdown())
    return report


def _rounded(value: float) -> float | None:
    """Value for JSON, rounded; None for NaN and infinity, which JSON does not have."""
    return round(value, 4) if math.isfinite(value) else None
