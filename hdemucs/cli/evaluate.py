"""`hdemucs evaluate`: scores a model on a test set, or compares two such runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdemucs.cli.options import add_computation, computation
from hdemucs.cli.output import complain, make_table, note, plain, print_table, terminal_width, wrapped
from hdemucs.errors import OptionError
from hdemucs.pretrained import DEFAULT_MODEL

if TYPE_CHECKING:
    from hdemucs.datasets.songs import Song
    from hdemucs.evaluation.benchmark.engines import Engine
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
    what = parser.add_argument_group("what to evaluate")
    what.add_argument(
        "--musdb", type=Path, metavar="PATH", help="MusDB-HQ, or any folder of songs with stems"
    )
    one = what.add_mutually_exclusive_group()
    one.add_argument(
        "-n",
        "--model",
        help=f"a model, as for `hdemucs separate` (default: {DEFAULT_MODEL}); `mixture`: the mixture "
        "as estimate of every source; `oracle:irm`: the ideal ratio mask",
    )
    one.add_argument(
        "--estimates",
        type=Path,
        metavar="FOLDER",
        help="instead of a model, stems that exist: FOLDER/SONG/SOURCE.wav",
    )
    one.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="instead, compare the scores of two runs, given their folders",
    )
    add_computation(parser.add_argument_group("separation"))
    scoring = parser.add_argument_group("scoring")
    scoring.add_argument(
        "--engine",
        default="hdemucs",
        metavar="NAME",
        help="what computes BSS Eval: hdemucs, or museval, the reference, which is slower and needs an "
        "ffmpeg program (default: hdemucs)",
    )
    scoring.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="songs to score at once, while the next one is separated (default: 1)",
    )
    # Scores are compared across machines.
    parser.set_defaults(precision="float32")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--out", type=Path, help="folder of the run: scores, summary and table")
    output.add_argument("--plots", action="store_true", help="plot the scores as well; needs matplotlib")
    output.add_argument("--json", action="store_true", help="print the summary as JSON, not as a table")


def run(args: argparse.Namespace) -> int:
    """Run `hdemucs evaluate`."""
    if args.compare is not None:
        if args.musdb or args.out or args.plots or args.json:
            raise OptionError("--compare prints a table of two runs; it takes no other options")
        from hdemucs.evaluation.benchmark.comparison import compare

        _print_scores([compare(*args.compare)])
        return 0
    if args.musdb is None or args.out is None:
        raise OptionError("evaluate needs --musdb PATH and --out FOLDER; see `hdemucs evaluate --help`")
    if args.plots:
        from hdemucs.evaluation.benchmark.plots import require_matplotlib

        require_matplotlib()
    from hdemucs.datasets.songs import find_songs
    from hdemucs.evaluation.benchmark.engines import find_engine
    from hdemucs.evaluation.benchmark.methods import FolderMethod, find_method
    from hdemucs.evaluation.benchmark.report import write_report

    engine = find_engine(args.engine)
    songs = find_songs(args.musdb)
    method: Method
    if args.estimates is not None:
        method = FolderMethod(args.estimates)
    else:
        method = find_method(args.model or DEFAULT_MODEL, **computation(args))
    outcomes = _evaluate(method, songs, args.out, engine, args.jobs)
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
    if len(failed) < len(songs):
        kept = sum(outcome.status == "kept" for outcome in outcomes)
        note(f"scores are in {args.out}" + f" ({kept} of {len(songs)} from an earlier run)" * bool(kept))
    return int(bool(failed))


def _print_scores(tables: Sequence[ScoreTable]) -> None:
    """Print tables as they are read best: laid out on a terminal, as Markdown elsewhere."""
    for index, table in enumerate(tables):
        if index:
            print()
        if not sys.stdout.isatty():
            print(table.markdown(), end="")
            continue
        print(wrapped(table.title, terminal_width(sys.stdout)))
        rows = make_table(*table.header)
        for row in table.rows:
            rows.add_row(*map(plain, row))
        print_table(rows)


def _evaluate(
    method: Method, songs: Sequence[Song], out: Path, engine: Engine, jobs: int
) -> list[SongOutcome]:
    from hdemucs.cli.output import progress_bar
    from hdemucs.evaluation.benchmark.run import evaluate

    with progress_bar() as bar:
        task = bar.add_task("", total=len(songs))

        def advance(done: int, song: str) -> None:
            bar.update(task, description=song, completed=done, refresh=True)

        return evaluate(method, songs, out, engine=engine, jobs=jobs, progress=advance)
