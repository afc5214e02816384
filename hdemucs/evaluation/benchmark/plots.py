"""Pictures of a run: what matplotlib is needed for, and only this."""

from pathlib import Path

from hdemucs.errors import OptionError
from hdemucs.evaluation.benchmark.report import Report


def write_plots(report: Report, out: Path) -> list[Path]:
    """Draw a run into PNG files.

    `sdr_by_source.png`: a box a source over the songs. `sdr_by_song.png`: songs from worst to best.
    `sdr_over_time.png`: the windows of the worst and of the best song.

    Args:
        report: the run.
        out: folder of the files.

    Raises:
        OptionError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptionError("plots need matplotlib: pip install 'hdemucs[plots]'") from error
    tracks = report.tracks("SDR")
    order = tracks.nanmean(1).nan_to_num(-1e9).argsort().tolist()

    boxes = Figure(figsize=(1.5 + 1.2 * len(report.sources), 4), layout="constrained")
    axes = boxes.subplots()
    columns = [column[column.isfinite()].tolist() for column in tracks.T]
    axes.boxplot(columns, tick_labels=report.sources)
    axes.set_ylabel("SDR of a song, dB")
    axes.set_title(f"{report.method}, {len(report.songs)} songs")

    songs = Figure(figsize=(7, 1.5 + 0.25 * len(order)), layout="constrained")
    axes = songs.subplots()
    for index, source in enumerate(report.sources):
        axes.plot(tracks[order, index].tolist(), range(len(order)), "o", label=source)
    axes.set_yticks(range(len(order)), [report.songs[index] for index in order])
    axes.set_xlabel("SDR, dB")
    axes.grid(alpha=0.3)
    axes.legend()

    over_time = Figure(figsize=(8, 6), layout="constrained")
    for axes, index in zip(over_time.subplots(2, 1), (order[0], order[-1]), strict=True):
        for source, windows in zip(report.sources, report.windows[index]["SDR"], strict=True):
            axes.plot(windows.tolist(), label=source)
        axes.set_title(f"{'worst' if index == order[0] else 'best'}: {report.songs[index]}")
        axes.set_ylabel("SDR, dB")
        axes.set_xlabel("s")
        axes.grid(alpha=0.3)
        axes.legend()

    paths = []
    for name, figure in (("sdr_by_source", boxes), ("sdr_by_song", songs), ("sdr_over_time", over_time)):
        paths.append(out / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths
