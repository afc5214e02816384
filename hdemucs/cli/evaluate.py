"""`hdemucs evaluate`: scores a model on a test set, or compares two such runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdemucs.cli.options import add_computation, computation
from hdemucs.cli.output import complain, make_table, note, plain, print_table
from hdemucs.errors import OptionError
from hdemucs.pretrained import DEFAULT_MODEL

if TYPE_CHECKING:
    from hdemucs.datasets.songs import Song
    from hdemucs.evaluation.benchmark.methods import Method
    from hdemucs.evaluation.benchmark.run import SongOutcome
    from hdemucs.evaluation.benchmark.tables import ScoreTable


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="score a model on MusDB-HQ",
        description="Score a model on MusDB-HQ's test set: SDR, ISR, SIR and SAR (BSS Eval v4) as museval "
        "computes them, and the SDR of the MDX challenge. Songs scored before are not scored again, so a run "
        "that was stopped continues where it stopped.",
        epilog="Download MusDB-HQ from https://zenodo.org/records/3338373 (22.7 GB). MusDB18's .stem.mp4 "
        "files work too, and so does any folder of songs, each a folder of drums.wav, bass.wav, ...",
    )
    parser.set_defaults(run=run, parser=parser)
    what = parser.add_argument_group("what to score (choose one)")
    what.add_argument(
        "-n",
        "--model",
        help=f"a model, as for `hdemucs separate` (default: {DEFAULT_MODEL}); `mixture`: the mixture "
        "as estimate of every source; `oracle:irm`: the ideal ratio mask",
    )
    what.add_argument(
        "--estimates",
        type=Path,
        metavar="FOLDER",
        help="stems separated by something else: FOLDER/SONG/SOURCE.wav",
    )
    what.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A", "B"), help="folders of two runs to compare"
    )
    parser.add_argument(
        "--musdb", type=Path, metavar="PATH", help="MusDB-HQ, or a folder with the same layout"
    )
    parser.add_argument("-o", "--out", type=Path, help="folder of the run, for scores, summary and table")
    parser.add_argument("--plots", action="store_true", help="plot the scores as well; needs matplotlib")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="songs to score at once, while the next one is separated (default: 1)",
    )
    add_computation(parser.add_argument_group("computation"))
    # Scores are compared across machines.
    parser.set_defaults(precision="float32")


def run(args: argparse.Namespace) -> int:
    """Run `hdemucs evaluate`."""
    if args.compare is not None:
        from hdemucs.evaluation.benchmark.comparison import compare

        _print_scores([compare(*args.compare)])
        return 0
    if args.musdb is None or args.out is None:
        raise OptionError("evaluate needs --musdb PATH and --out FOLDER; see `hdemucs evaluate --help`")
    if args.model is not None and args.estimates is not None:
        raise OptionError("evaluate takes either --model or --estimates, not both")
    if args.plots:
        from hdemucs.evaluation.benchmark.plots import require_matplotlib

        require_matplotlib()
    from hdemucs.datasets.songs import find_songs
    from hdemucs.evaluation.benchmark.methods import FolderMethod, find_method
    from hdemucs.evaluation.benchmark.report import write_report

    songs = find_songs(args.musdb)
    method: Method
    if args.estimates is not None:
        method = FolderMethod(args.estimates)
    else:
        method = find_method(args.model or DEFAULT_MODEL, **computation(args))
    outcomes = _evaluate(method, songs, args.out, args.jobs)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if len(failed) < len(songs):
        report = write_report(args.out)
        if args.json:
            print(json.dumps(report.summary(), indent=2))
        else:
            _print_scores(report.tables())
        if args.plots:
            from hdemucs.evaluation.benchmark.plots import write_plots

            write_plots(report, args.out)
    for outcome in failed:
        complain(f"{outcome.song} was not scored: {outcome.error}")
    note(f"scores are in {args.out}")
    return int(bool(failed))


def _print_scores(tables: Sequence[ScoreTable]) -> None:
    """Print tables as they are read best: laid out on a terminal, as Markdown elsewhere."""
    for index, table in enumerate(tables):
        if index:
            print()
        if not sys.stdout.isatty():
            print(table.markdown(), end="")
            continue
        print(table.title)
        rows = make_table(*table.header)
        for row in table.rows:
            rows.add_row(*map(plain, row))
        print_table(rows)


def _evaluate(method: Method, songs: Sequence[Song], out: Path, jobs: int) -> list[SongOutcome]:
    from hdemucs.cli.output import progress_bar
    from hdemucs.evaluation.benchmark.run import evaluate

    with progress_bar() as bar:
        task = bar.add_task("", total=len(songs))

        def advance(done: int, song: str) -> None:
            bar.update(task, description=song, completed=done, refresh=True)

        return evaluate(method, songs, out, jobs=jobs, progress=advance)
