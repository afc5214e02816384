"""The command `hdemucs`: parses, calls, prints. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hdemucs import __version__
from hdemucs.cli import demo, evaluate, make_songs, models, remix, separate, train
from hdemucs.cli.output import Parser, complain
from hdemucs.errors import HDemucsError, OptionError
from hdemucs.suggest import hint

COMMANDS = (separate, demo, evaluate, train, make_songs, remix, models)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, 1 if something failed, 2 for invalid options, 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    parser, commands = build_parser()
    if not argv:
        parser.print_help()
        return 0
    if argv[0] not in (*commands, "-h", "--help", "--version"):
        near = "" if Path(argv[0]).suffix else hint(argv[0], commands)
        remedy = near or f": to separate a song, run `hdemucs separate {' '.join(argv)}`"
        parser.error(f"unknown command {argv[0]!r}{remedy}")
    args, unknown = parser.parse_known_args(argv)
    _take_leftovers(args, unknown)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that the terminal cannot show is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _exit_on_signals():
            status: int = args.run(args)
            if sys.stdout is not None:
                sys.stdout.flush()
    except HDemucsError as error:
        complain(str(error))
        return 2 if isinstance(error, OptionError) else 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except OSError as error:
        # A closed pipe means that the reader has seen enough; otherwise, the disk behind stdout may be full.
        if not isinstance(error, BrokenPipeError):
            complain(str(error))
        return 1
    return status


def build_parser() -> tuple[Parser, Collection[str]]:
    """Parser of the command line, and the names of all commands."""
    parser = Parser(prog="hdemucs", description="Music source separation with Hybrid Demucs.")
    parser.add_argument("--version", action="version", version=f"hdemucs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser, commands.choices


def _take_leftovers(args: argparse.Namespace, unknown: Sequence[str]) -> None:
    """Add arguments after an option to the list they belong to: argparse ends a list at the first option."""
    options = [word for word in unknown if word.startswith("-") and word != "-"]
    if options:
        args.parser.error(f"unknown option {options[0]!r} (put a file of that name after --)")
    name: str = getattr(args, "words", "")
    if unknown and not name:
        args.parser.error(f"unexpected argument {unknown[0]!r}")
    if unknown:
        # Parsed by the same parser, so that they are checked as the first ones were.
        vars(args)[name] += vars(args.parser.parse_args(unknown))[name]


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let the signals that end a process unwind it as Ctrl-C does, so that unfinished files are removed."""
    before: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # nohup ignores the hang-up signal, and it has to stay ignored. A handler that Python did not install
        # (None) could not be restored, and only the main thread may install one.
        if (
            number is not None
            and signal.getsignal(number) not in (signal.SIG_IGN, None)
            and threading.current_thread() is threading.main_thread()
        ):
            before[number] = signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
