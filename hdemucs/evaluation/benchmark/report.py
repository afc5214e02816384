"""What a run of the benchmark says: a summary, tables, and the comparison of two runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from hdemucs.errors import EvaluationError
from hdemucs.evaluation.benchmark.run import METRICS
from hdemucs.evaluation.metrics.aggregate import mean_over_tracks, median_over_tracks, median_over_windows
from hdemucs.files import write_whole

PUBLISHED = Path(__file__).with_name("published.yaml")
FLIPS = 100_000
"""Random signs of the paired test: p-values are good to about 0.002."""


@dataclass(frozen=True)
class Report:
    """Scores of one run.

    Attributes:
        method: what was scored.
        songs: their names.
        sources: their names.
        windows: for each song, BSS Eval of its windows: by metric, dB `[S, windows]`.
        whole: SDR of whole tracks (MDX challenge), dB `[songs, S]`.
    """

    method: str
    songs: list[str]
    sources: list[str]
    windows: Sequence[Mapping[str, Tensor]]
    whole: Tensor

    def tracks(self, metric: str) -> Tensor:
        """Median over windows, dB `[songs, S]`; metric is SDR, ISR, SIR or SAR."""
        return torch.stack([median_over_windows(scores[metric]) for scores in self.windows])

    def summary(self) -> dict[str, Any]:
        """Medians over tracks of medians over windows (SiSEC), and the mean SDR of whole tracks (MDX)."""
        medians = {metric: median_over_tracks(self.tracks(metric)) for metric in METRICS}
        mean = mean_over_tracks(self.whole)
        by_source = {
            source: {
                **{metric: _round(medians[metric][index]) for metric in METRICS},
                "SDR (MDX)": _round(mean[index]),
            }
            for index, source in enumerate(self.sources)
        }
        overall = {metric: _round(medians[metric].nanmean()) for metric in METRICS}
        return {
            "method": self.method,
            "songs": len(self.songs),
            "sources": by_source,
            "mean": {**overall, "SDR (MDX)": _round(mean.nanmean())},
        }

    def markdown(self) -> str:
        """The summary as a table, published results below it."""
        summary = self.summary()
        columns = [*METRICS, "SDR (MDX)"]
        lines = [f"{self.method}, {len(self.songs)} songs, dB", "", _row(["source", *columns])]
        lines.append(_row(["---"] * (len(columns) + 1)))
        for name, scores in [*summary["sources"].items(), ("mean", summary["mean"])]:
            lines.append(_row([name, *(_text(scores[column]) for column in columns)]))
        lines += ["", "Published, MusDB-HQ test set, mean of SDR, dB:", "", _row(["method", "SDR", "from"])]
        lines.append(_row(["---"] * 3))
        lines.append(_row([f"this run ({self.method})", _text(summary["mean"]["SDR"]), ""]))
        lines += [_row([row["method"], _text(row["overall"]), row["where"]]) for row in published()]
        return "\n".join(lines) + "\n"


def published() -> list[dict[str, Any]]:
    """Published results: method, overall SDR in dB, and where it was read."""
    rows: list[dict[str, Any]] = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    return rows


def read_report(out: Path, songs: Sequence[str] | None = None) -> Report:
    """Report of the run in a folder.

    Args:
        out: folder of `evaluate`, or any folder of museval's JSON files.
        songs: to take; all that are there if None.

    Raises:
        EvaluationError: there are no scores, or songs were scored for different sources.
    """
    folder = out / "tracks" if (out / "tracks").is_dir() else out
    files = {file.stem: file for file in sorted(folder.glob("*.json"))}
    names = [name for name in files if songs is None or name in songs]
    if not names:
        raise EvaluationError(f"{folder} has no scores; run `hdemucs evaluate` into {out} first")
    tracks = [_read_track(files[name]) for name in names]
    sources = sorted(tracks[0][0])
    windows, whole = [], []
    for name, (targets, own) in zip(names, tracks, strict=True):
        if sorted(targets) != sources:
            raise EvaluationError(f"{files[name]} scores {', '.join(targets)}, not {', '.join(sources)}")
        windows.append({metric: torch.stack([targets[s][metric] for s in sources]) for metric in METRICS})
        whole.append([own.get(source, float("nan")) for source in sources])
    run = out / "run.json"
    method = json.loads(run.read_text(encoding="utf-8"))["method"] if run.exists() else out.name
    return Report(method, names, sources, windows, torch.tensor(whole))


def _read_track(file: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, float]]:
    """Windows `[P]` of one song by source and metric, and its SDR of the whole track by source."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        targets = {
            target["name"]: {
                metric: torch.tensor([float(frame["metrics"][metric]) for frame in target["frames"]])
                for metric in METRICS
            }
            for target in content["targets"]
        }
        return targets, dict(content.get("hdemucs", {}).get("sdr", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{file} is no file of scores; remove it to score the song again") from error


def write_report(out: Path) -> Report:
    """Write `summary.json` and `table.md` of the run in a folder, and return its report."""
    report = read_report(out)
    write_whole(out / "summary.json", json.dumps(report.summary(), indent=2))
    write_whole(out / "table.md", report.markdown())
    return report


def compare(first: Path, second: Path) -> str:
    """Two runs side by side on the songs that both have, with a paired test, as a Markdown table.

    Were the methods alike, each song's difference could as well have the other sign; so the mean difference
    is compared with those of 100,000 random (seeded) choices of signs. p is how often these are as large.

    Raises:
        EvaluationError: the runs have no song or no source in common.
    """
    a, b = read_report(first), read_report(second)
    songs = [song for song in a.songs if song in b.songs]
    sources = [source for source in a.sources if source in b.sources]
    if not songs or not sources:
        raise EvaluationError(f"{first} and {second} have no song and source in common to be compared on")
    a, b = read_report(first, songs), read_report(second, songs)
    lines = [
        f"SDR in dB on {len(songs)} songs: A is {a.method}, B is {b.method}",
        "",
        _row(["source", "A", "B", "B - A, mean over songs", "p"]),
        _row(["---"] * 5),
    ]
    scores_a, scores_b = a.tracks("SDR"), b.tracks("SDR")
    for source in sources:
        one = scores_a[:, a.sources.index(source)]
        two = scores_b[:, b.sources.index(source)]
        difference = (two - one)[(two - one).isfinite()]
        cells = [median_over_tracks(one), median_over_tracks(two), difference.mean()]
        p = f"{paired_test(difference):.4f}" if len(difference) else "-"
        lines.append(_row([source, *(_text(float(cell)) for cell in cells), p]))
    return "\n".join(lines) + "\n"


def paired_test(differences: Tensor) -> float:
    """Two-sided p-value of a mean of differences `[songs]` by random flips of their signs."""
    differences = differences.double()
    generator = torch.Generator().manual_seed(0)
    reached = 0
    for _ in range(FLIPS // 1000):
        signs = torch.randint(0, 2, (1000, len(differences)), generator=generator).double() * 2 - 1
        means = (signs * differences).mean(1).abs()
        reached += int((means >= differences.mean().abs() * (1 - 1e-12)).sum())
    return (reached + 1) / (FLIPS + 1)


def _round(value: Tensor) -> float | None:
    """For JSON, which has no NaN."""
    return None if value.isnan() else round(float(value), 4)


def _text(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.2f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
