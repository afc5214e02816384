"""The command `hdemucs`: parses, calls, prints. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence

from hdemucs import __version__
from hdemucs.cli import demo, evaluate, models, separate, train
from hdemucs.cli.output import Parser, complain
from hdemucs.errors import HDemucsError, OptionError

COMMANDS = ("separate", "demo", "evaluate", "train", "models")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 if something failed, 2 for wrong options."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    if argv and argv[0] not in (*COMMANDS, "-h", "--help", "--version"):
        parser.error(f"no command {argv[0]!r}: to separate a song, run `hdemucs separate {' '.join(argv)}`")
    args, unknown = parser.parse_known_args(argv)
    _take(args, unknown)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that the terminal cannot show is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    _stop_on_signals()
    try:
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
        # Whoever read our output has read enough, or the disk that it goes to is full.
        if not isinstance(error, BrokenPipeError):
            complain(str(error))
        return 1
    return status


def _take(args: argparse.Namespace, unknown: Sequence[str]) -> None:
    """Take what argparse left over: it does not go on with a list of words after an option in its midst."""
    options = [word for word in unknown if word.startswith("-")]
    name: str = getattr(args, "words", "")
    if options or (unknown and not name):
        args.parser.error(f"no option {[*options, *unknown][0]!r} (a file of that name goes after --)")
    if unknown:
        # Parsed by the parser of the command, so that words are checked as the first ones were.
        vars(args)[name] += vars(args.parser.parse_args(unknown))[name]


def _stop_on_signals() -> None:
    """Let the signals that end a process end it as Ctrl-C does, so that what is being written is removed."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Under nohup, a hang-up is ignored, and shall be.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(prog="hdemucs", description="Music source separation with Hybrid Demucs.")
    parser.add_argument("--version", action="version", version=f"hdemucs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (separate, demo, evaluate, train, models):
        command.add_parser(commands)
    return parser
