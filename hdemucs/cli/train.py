"""`hdemucs train`: trains or fine-tunes a model on a folder of songs."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdemucs.cli.output import complain, make_table, needs_extra, note, plain, print_table, progress_bar
from hdemucs.errors import OptionError, RunExistsError, TrainingError
from hdemucs.training.config.published import config_names

if TYPE_CHECKING:
    from hdemucs.training.trainer import Step


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a model on your own stems, or fine-tune one",
        usage="hdemucs train --config CONFIG data=FOLDER [KEY=VALUE ...] [-o RUN]\n"
        "                     [--check]\n"
        "       hdemucs train --resume RUN\n"
        "       hdemucs train --keys",
        description="Train on a folder of songs, each a folder of stems (drums.wav, bass.wav, ...).\n"
        "The best model becomes RUN/best.safetensors: `hdemucs separate --model RUN`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="To fine-tune:     hdemucs train --config finetune data=songs init=hdemucs_mmi\n"
        "On several GPUs:  torchrun --nproc-per-node 4 -m hdemucs train ...",
    )
    parser.set_defaults(run=run, parser=parser, words="settings")
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help=f"{', '.join(config_names())}, or a YAML file",
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="RUN", help="folder of the run (default: runs/CONFIG)"
    )
    parser.add_argument(
        "--check", action="store_true", help="print what would be trained, and on what, without training"
    )
    parser.add_argument("--resume", type=Path, metavar="RUN", help="resume a run that was stopped")
    parser.add_argument("--keys", action="store_true", help="list all keys of a configuration")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings that override the config")


@needs_extra("train")
def run(args: argparse.Namespace) -> int:
    """Run `hdemucs train`."""
    if sum((args.config is not None, args.resume is not None, args.keys)) != 1:
        raise OptionError("train needs one of --config, --resume and --keys; see `hdemucs train --help`")
    if args.keys and (args.settings or args.out or args.check):
        raise OptionError("--keys lists all keys; it takes no other options")
    if args.resume and (args.settings or args.out or args.check):
        raise OptionError(
            f"--resume takes its settings from {args.resume / 'config.yaml'}; change them there"
        )
    try:
        if args.keys:
            _print_keys()
        elif args.check:
            _check(args)
        else:
            _train(args)
    except RunExistsError as error:
        complain(
            f"{error.folder} already holds a training run; resume it with --resume {error.folder}, "
            "or choose another folder with --out"
        )
        return 1
    except TrainingError as error:
        # All mistakes in a configuration are reported at once, one per line.
        for line in f"hdemucs: {error}".splitlines():
            note(line)
        return 1
    return 0


def _print_keys() -> None:
    from hdemucs.training.config.schema import describe

    rows = make_table("key", "type", "default", "description")
    for key in describe():
        rows.add_row(*map(plain, (key.name, key.type, str(key.default), key.help)))
    print_table(rows)


def _check(args: argparse.Namespace) -> None:
    from hdemucs.training.config.load import dump
    from hdemucs.training.start import check

    with _display() as (_, scanning):
        config, model, songs = check(args.config, args.settings, scanning=scanning)
    # What was found, and what to do about it, stays in sight below many lines of settings.
    print(dump(config), end="", flush=True)
    note(songs.report())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    note(f"{type(model).__name__} with {parameters / 1e6:.2f} M parameters for {', '.join(model.sources)}")


def _train(args: argparse.Namespace) -> None:
    from hdemucs.training.run import Run
    from hdemucs.training.start import resume, train

    run = Run(args.resume or args.out or Path("runs") / Path(args.config).stem)
    try:
        with _display() as (progress, scanning):
            if args.resume is not None:
                resume(run.folder, progress=progress, scanning=scanning)
            else:
                train(args.config, args.settings, run.folder, progress=progress, scanning=scanning)
    except KeyboardInterrupt:
        if run.initial.exists():
            note(f"to resume this run: hdemucs train --resume {shlex.quote(str(run.folder))}")
        raise
    if run.best.exists():
        print(run.best, flush=True)
        note(f"to separate with it: hdemucs separate SONG --model {shlex.quote(str(run.folder))}")


@contextmanager
def _display() -> Iterator[tuple[Any, Any]]:
    """Yield progress callbacks for training and for scanning songs; they share a bar, below the log."""
    with progress_bar() as bar:
        task = bar.add_task("starting", total=None)
        # On a CPU a step may take a minute, and a validation several.
        bar.speed_estimate_period = 3600

        def step(event: Step) -> None:
            state = ", finishing" if event.step == event.steps else f", loss {event.loss:.4f}"
            # A narrow terminal has no room for more than the time left.
            text = f"epoch {event.epoch}/{event.epochs}" + state * (bar.console.width >= 60)
            done = (event.epoch - 1) * event.steps + event.step
            bar.update(task, description=text, completed=done, total=event.epochs * event.steps)

        def scanning(done: int, total: int) -> None:
            bar.update(task, description="scanning the songs", completed=done, total=total)

        handler = _LogAboveBar(bar)
        logger = logging.getLogger("hdemucs.training")
        logger.addHandler(handler)
        try:
            yield step, scanning
        finally:
            logger.removeHandler(handler)


class _LogAboveBar(logging.Handler):
    """Prints log messages above a progress bar, and leaves out those that repeat what the bar shows."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message without a time stamp: on a terminal, it is read as it appears."""
        if not (self.bar.console.is_terminal and getattr(record, "in_progress_bar", False)):
            note(record.getMessage())
