"""`hdemucs remix`: new songs for fine-tuning, remixed from stems of different songs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hdemucs.cli.output import complain, needs_extra, note, progress_bar


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "remix",
        help="remix songs for fine-tuning",
        description="Write new songs to OUT/train, each remixed from stems of different songs that were "
        "matched in tempo and key (arXiv 2111.03600). Songs that exist are kept, so a run that was stopped "
        "continues where it stopped.",
        epilog="Needs the extra `train`. Fine-tune on the result with `hdemucs train --config finetune "
        "data=OUT init=MODEL`.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="SONGS", help="folder of songs, or its parent folder"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="output folder; it must not contain the songs"
    )
    parser.add_argument("--songs", type=int, required=True, metavar="N", help="number of new songs")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="length of a new song (default: %(default)s)"
    )
    parser.add_argument(
        "--sources", nargs="+", metavar="SOURCE", help="stems of a new song (default: all that any song has)"
    )
    parser.add_argument(
        "--validation",
        nargs="+",
        metavar="NAME",
        help="songs not to remix but to link to in OUT/valid (default: MusDB's 14 validation songs)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="another seed makes other songs (default: %(default)s)"
    )
    parser.add_argument(
        "-j", "--jobs", type=int, default=1, metavar="N", help="number of processes (default: %(default)s)"
    )


@needs_extra("train")
def run(args: argparse.Namespace) -> int:
    """Run `hdemucs remix`."""
    from hdemucs.training.automix.render import automix

    options = {} if args.validation is None else {"validation": args.validation}
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def show(activity: str, done: int, total: int) -> None:
            if activity not in tasks:
                tasks[activity] = bar.add_task(activity, total=total)
            bar.update(tasks[activity], completed=done, refresh=True)

        report = automix(
            args.folders,
            args.out,
            songs=args.songs,
            seconds=args.seconds,
            sources=args.sources,
            seed=args.seed,
            jobs=args.jobs,
            progress=show,
            **options,
        )
    for name, problem in report.problems.items():
        complain(f"{name} was left out: {problem}")
    if report.outdated:
        complain(
            f"{len(report.outdated)} of the kept songs, such as {report.outdated[0]}, were made of other "
            "songs or with other settings; to make them again, remove them"
        )
    note(f"new songs in {args.out}: {len(report.written)}; kept: {len(report.kept)}")
    return 0
