"""Make multitrack songs to train and measure models with, in MusDB-HQ's layout.

Every song is written, played, sung and mixed from a seed. Needs the extra `synthesis` and sounds from Debian
packages, which the error message names if they are missing. A stopped run goes on where it was:

    .venv/bin/python scripts/make_songs.py songs --songs 500 --held-out 30 --jobs 2
"""

import argparse
import sys
from pathlib import Path

from hdemucs.cli.output import progress_bar
from hdemucs.errors import HDemucsError
from hdemucs.synthesis.dataset import FORMATS, write_songs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the result: OUT/train/SONG/drums.wav, …")
    parser.add_argument("--songs", type=int, default=100, help="to train with (default: %(default)s)")
    parser.add_argument(
        "--held-out", type=int, default=0, help="to measure with, in OUT/test (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=32.0, help="of a song, 0 for whole ones (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first song (default: %(default)s)")
    parser.add_argument(
        "--format", choices=FORMATS, default="wav", help="of the files (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes, of one core each (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with progress_bar() as bar:
        task = bar.add_task("songs", total=None)
        try:
            made = write_songs(
                arguments.out,
                songs=arguments.songs,
                held_out=arguments.held_out,
                seed=arguments.seed,
                seconds=arguments.seconds or None,
                format=arguments.format,
                jobs=arguments.jobs,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except HDemucsError as error:
            sys.exit(str(error))
    kinds = f"{arguments.songs} to train with, {arguments.held_out} held out"
    print(f"{made} songs made; {arguments.out} has {kinds}")


if __name__ == "__main__":
    main()
