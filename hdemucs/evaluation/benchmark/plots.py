"""Plots of a run; the only module that needs matplotlib."""

import importlib.util
from pathlib import Path

from hdemucs.errors import OptionError, install_extra
from hdemucs.evaluation.benchmark.report import BenchmarkReport
from hdemucs.files import whole_file


def require_matplotlib() -> None:
    """Raise OptionError if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionError(f"plots need matplotlib: {install_extra('plots')}")


def write_plots(report: BenchmarkReport, out: Path) -> list[Path]:
    """Plot the SDR of a run into PNG files.

    `sdr_by_source.png` has a box plot over songs for each source, `sdr_by_song.png` the songs from worst to
    best, `sdr_over_time.png` the windows of the worst and of the best song.

    Args:
        report: Report of the run.
        out: Folder for the files.

    Returns:
        Paths of the files.

    Raises:
        OptionError: matplotlib is not installed.
        OutputError: A file cannot be written.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    scores = report.by_song("SDR")
    order = scores.nanmean(1).nan_to_num(-1e9).argsort().tolist()

    by_source = Figure(figsize=(1.5 + 1.2 * len(report.sources), 4), layout="constrained")
    axes = by_source.subplots()
    columns = [column[column.isfinite()].tolist() for column in scores.T]
    axes.boxplot(columns, tick_labels=report.sources)
    axes.set_ylabel("SDR of a song, dB")
    axes.set_title(report.title)

    by_song = Figure(figsize=(7, 1.5 + 0.25 * len(order)), layout="constrained")
    axes = by_song.subplots()
    for index, source in enumerate(report.sources):
        axes.plot(scores[order, index].tolist(), range(len(order)), "o", label=source)
    axes.set_yticks(range(len(order)), [report.songs[index] for index in order])
    axes.set_xlabel("SDR, dB")
    axes.grid(alpha=0.3)
    axes.legend()

    over_time = Figure(figsize=(8, 6), layout="constrained")
    for axes, index, title in zip(
        over_time.subplots(2, 1), (order[0], order[-1]), ("worst", "best"), strict=True
    ):
        for source, windows in zip(report.sources, report.windows[index]["SDR"], strict=True):
            axes.plot(windows.tolist(), label=source)
        axes.set_title(f"{title}: {report.songs[index]}")
        axes.set_ylabel("SDR, dB")
        axes.set_xlabel("time, s")
        axes.grid(alpha=0.3)
        axes.legend()

    paths = []
    figures = {"sdr_by_source": by_source, "sdr_by_song": by_song, "sdr_over_time": over_time}
    for name, figure in figures.items():
        paths.append(out / f"{name}.png")
        with whole_file(paths[-1]) as file:
            figure.savefig(file, format="png", dpi=120)
    return paths
