"""Remix songs for fine-tuning: stems of different songs, matched in tempo and key (arXiv 2111.03600).

scripts/automix.py /data/musdb18hq -o /data/remixes --songs 500 --jobs 8
hdemucs train --config finetune data=/data/remixes init=hdemucs_high_musdb
"""

import argparse
import signal
import sys
from pathlib import Path

from hdemucs.cli.output import complain, note, progress_bar
from hdemucs.errors import HDemucsError, OptionError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="SONGS", help="folder of songs, or its parent"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the new songs")
    parser.add_argument("--songs", type=int, required=True, help="how many new songs")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each (default: 60)")
    parser.add_argument("--sources", nargs="+", help="stems of each (default: all that any song has)")
    parser.add_argument(
        "--validation",
        nargs="+",
        metavar="NAME",
        help="songs to leave out and link to in OUT/valid (default: MusDB's 14)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other songs (default: 0)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes (default: 1)")
    return parser


def main() -> int:
    args = build_parser().parse_args()
    # Stopped politely, by a batch system for one, it leaves nothing unfinished behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        from hdemucs.training.automix.render import automix

        with progress_bar() as bar:
            tasks: dict[str, int] = {}

            def advance(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done, refresh=True)

            options = {name: value for name, value in vars(args).items() if value is not None}
            report = automix(**options, progress=advance)
    except HDemucsError as error:
        complain(str(error))
        return 2 if isinstance(error, OptionError) else 1
    except KeyboardInterrupt:
        complain("interrupted; run it again to go on")
        return 130
    for name, problem in report.problems.items():
        complain(f"{name} was left out: {problem}")
    note(f"{len(report.written)} songs are new in {args.out}, {len(report.kept)} were there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
