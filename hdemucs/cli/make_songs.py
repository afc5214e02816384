"""`hdemucs make-songs`: multitrack songs to train and evaluate models with, synthesised from free sounds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hdemucs.cli.output import needs_extra, note, progress_bar


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "make-songs",
        help="synthesise songs with stems to train with",
        description="Synthesise songs with their stems, in the layout of MusDB-HQ: OUT/train/SONG/drums.wav, "
        "... Every song is composed, played, sung and mixed from a seed. Songs that exist are kept, so a run "
        "that was stopped continues where it stopped.",
        epilog="Needs the extra `synthesis`, and sounds from Debian packages; if any are missing, the error "
        "message says how to install them.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="output folder")
    parser.add_argument(
        "--songs", type=int, default=100, metavar="N", help="songs to train with (default: %(default)s)"
    )
    parser.add_argument(
        "--held-out",
        type=int,
        default=0,
        metavar="N",
        help="songs to evaluate with, in OUT/test, made of sounds and styles that no other song has "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--sparse",
        action="store_true",
        help="thin out the held-out songs to solos, a cappella, drum breaks, instrumentals: every stem rests "
        "for half of the song",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=32.0,
        help="length of a song; 0 for full songs (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the first song; the next ones count up from it (default: %(default)s)",
    )
    parser.add_argument(
        "--format", default="wav", help="format of the files, wav or flac (default: %(default)s)"
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="processes, one core each (default: %(default)s)",
    )


@needs_extra("synthesis")
def run(args: argparse.Namespace) -> int:
    """Run `hdemucs make-songs`."""
    from hdemucs.synthesis.dataset import write_songs

    with progress_bar() as bar:
        task = bar.add_task("songs", total=None)
        made = write_songs(
            args.out,
            songs=args.songs,
            held_out=args.held_out,
            sparse=args.sparse,
            seed=args.seed,
            seconds=args.seconds or None,
            format=args.format,
            jobs=args.jobs,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    note(f"new songs: {made}; in {args.out}: {args.songs} to train with, {args.held_out} held out")
    return 0
