"""`hdemucs evaluate`: scores of a model on a test set, and the comparison of two runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdemucs.cli.output import complain, note
from hdemucs.cli.separate import COMPUTATION, add_computation
from hdemucs.errors import OptionError

if TYPE_CHECKING:
    from hdemucs.datasets.songs import Song
    from hdemucs.evaluation.benchmark.methods import Method
    from hdemucs.evaluation.benchmark.run import SongOutcome


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="score a model on MusDB-HQ",
        description="Score a model on MusDB-HQ's test set: SDR, ISR, SIR and SAR (BSS Eval v4) as museval "
        "computes them, and the SDR of the MDX challenge. A run that was stopped goes on where it was.",
        epilog="MusDB-HQ is had from https://zenodo.org/records/3338373 (22.7 GB). MusDB18's .stem.mp4 files "
        "do as well, and any folder of songs, each a folder of drums.wav, bass.wav, ...",
    )
    parser.set_defaults(run=run, parser=parser)
    what = parser.add_argument_group("what is scored, one of")
    what.add_argument(
        "-n",
        "--model",
        help="as for `separate`; `mixture`: the mixture as estimate; `oracle:irm`: the ideal ratio mask",
    )
    what.add_argument(
        "--estimates", type=Path, metavar="FOLDER", help="made elsewhere: FOLDER/SONG/SOURCE.wav"
    )
    what.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A", "B"), help="folders of two runs, set side by side"
    )
    parser.add_argument("--musdb", type=Path, metavar="PATH", help="MusDB-HQ, or a folder in its layout")
    parser.add_argument("-o", "--out", type=Path, help="folder of the run: scores, summary, table")
    parser.add_argument("--plots", action="store_true", help="draw the scores, too; needs matplotlib")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="songs scored at once (default: 1)")
    add_computation(parser.add_argument_group("computation"))


def run(args: argparse.Namespace) -> int:
    """All songs, whatever happens to one of them; then the report."""
    if args.compare is not None:
        from hdemucs.evaluation.benchmark.comparison import compare

        print(compare(*args.compare), end="")
        return 0
    if args.musdb is None or args.out is None:
        raise OptionError("evaluate needs --musdb PATH and --out FOLDER; see `hdemucs evaluate --help`")
    if (args.model is None) == (args.estimates is None):
        raise OptionError("evaluate needs either --model or --estimates")
    from hdemucs.datasets.songs import find_songs
    from hdemucs.evaluation.benchmark.methods import FolderMethod, find_method
    from hdemucs.evaluation.benchmark.report import write_report

    songs = find_songs(args.musdb)
    method: Method
    if args.estimates is not None:
        method = FolderMethod(args.estimates)
    else:
        method = find_method(args.model, **{name: getattr(args, name) for name in COMPUTATION})
    outcomes = _evaluate(method, songs, args.out, args.jobs)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if len(failed) < len(songs):
        report = write_report(args.out)
        print(
            json.dumps(report.summary(), indent=2) if args.json else report.markdown(), end="\n" * args.json
        )
        if args.plots:
            from hdemucs.evaluation.benchmark.plots import write_plots

            write_plots(report, args.out)
    for outcome in failed:
        complain(f"{outcome.song} was not scored: {outcome.error}")
    note(f"scores are in {args.out}")
    return int(bool(failed))


def _evaluate(method: Method, songs: Sequence[Song], out: Path, jobs: int) -> list[SongOutcome]:
    from hdemucs.cli.output import progress_bar
    from hdemucs.evaluation.benchmark.run import evaluate

    with progress_bar() as bar:
        task = bar.add_task("", total=len(songs))

        def advance(done: int, song: str) -> None:
            bar.update(task, description=song, completed=done, refresh=True)

        return evaluate(method, songs, out, jobs=jobs, progress=advance)
