"""Comparison of two runs, song by song, with a paired test."""

from pathlib import Path

import torch
from torch import Tensor

from hdemucs.errors import EvaluationError
from hdemucs.evaluation.benchmark.engines import METRICS, OwnEngine
from hdemucs.evaluation.benchmark.report import read_report
from hdemucs.evaluation.benchmark.tables import ScoreTable, decibels, songs_in_words
from hdemucs.evaluation.metrics import median_over_tracks

FLIPS = 100_000
"""Number of random sign flips in the paired test, for p-values accurate to about 0.002."""


def compare(first: Path, second: Path) -> ScoreTable:
    """Table of the scores of two runs on the songs that both have, with the p-values of `paired_test`.

    Args:
        first: Folder of run A.
        second: Folder of run B.

    Raises:
        EvaluationError: A folder has no scores, or the runs have no song or no source in common.
    """
    a, b = read_report(first), read_report(second)
    songs = [song for song in a.songs if song in b.songs]
    sources = [source for source in a.sources if source in b.sources]
    if not songs or not sources:
        raise EvaluationError(
            f"{first} and {second} cannot be compared: they have no song or source in common"
        )
    rows = []
    for metric in METRICS:
        scores_a, scores_b = (
            run.by_song(metric)[[run.songs.index(song) for song in songs]] for run in (a, b)
        )
        for source in sources:
            one, two = scores_a[:, a.sources.index(source)], scores_b[:, b.sources.index(source)]
            differences = (two - one)[(two - one).isfinite()]
            cells = [median_over_tracks(one), median_over_tracks(two), differences.mean()]
            p = f"{paired_test(differences):.4f}" if len(differences) else "-"
            rows.append([metric, source, *(decibels(float(cell)) for cell in cells), p])
    own = a.engine == b.engine == OwnEngine.name
    names = [run.method if own else f"{run.method} scored by {run.engine}" for run in (a, b)]
    title = f"{songs_in_words(len(songs))}, dB: A is {names[0]}, B is {names[1]}"
    header = ["metric", "source", "A", "B", "B - A, mean over songs", "p"]
    return ScoreTable(title, header, rows)


def paired_test(differences: Tensor) -> float:
    """Two-sided p-value of the mean of paired differences, by random sign flips (a permutation test).

    If two methods were equally good, the difference on each song could just as well have the other sign. The
    p-value is the share of 100,000 random choices of signs (from a fixed seed) whose mean is as large.

    Args:
        differences: One difference for each song, `[songs]`.
    """
    differences = differences.double()
    generator = torch.Generator().manual_seed(0)
    reached = 0
    for _ in range(FLIPS // 1000):
        signs = torch.randint(0, 2, (1000, len(differences)), generator=generator).double() * 2 - 1
        means = (signs * differences).mean(1).abs()
        reached += int((means >= differences.mean().abs() * (1 - 1e-12)).sum())
    return (reached + 1) / (FLIPS + 1)
