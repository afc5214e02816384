"""`hdemucs train`: training and fine-tuning on a folder of songs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdemucs.cli.output import make_table, note, plain, print_table, progress_bar
from hdemucs.errors import OptionError, TrainingError

if TYPE_CHECKING:
    from hdemucs.training.run import Run
    from hdemucs.training.trainer import Step


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a model on your own stems, or fine-tune one",
        usage="hdemucs train --config CONFIG data=FOLDER [KEY=VALUE ...] [-o RUN] [--check]\n"
        "       hdemucs train --resume RUN\n"
        "       hdemucs train --keys",
        description="Train on a folder of songs, each a folder of stems (drums.wav, bass.wav, ...). The best "
        "model becomes RUN/best.safetensors, for `hdemucs separate --model`.",
        epilog="With several GPUs: torchrun --nproc-per-node 4 -m hdemucs train ...; "
        "fine-tuning: hdemucs train --config finetune data=songs init=hdemucs_mmi",
    )
    parser.set_defaults(run=run, parser=parser, words="settings")
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="finetune, hdemucs_musdb, demucs_musdb, demucs_v2, hdemucs_small, debug, or a YAML file",
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="RUN", help="folder of the run (default: runs/CONFIG)"
    )
    parser.add_argument("--check", action="store_true", help="say what would be trained, on what, and leave")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run that was stopped")
    parser.add_argument("--keys", action="store_true", help="list what can be set, and leave")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings that replace the config's")


def run(args: argparse.Namespace) -> int:
    """A new run, or the rest of one."""
    if sum((args.config is not None, args.resume is not None, args.keys)) != 1:
        raise OptionError("train needs one of --config, --resume and --keys; see `hdemucs train --help`")
    if args.config is None and (args.settings or args.out or args.check):
        raise OptionError(
            f"--resume takes its settings from {args.resume / 'config.yaml'}; change them there"
        )
    try:
        if args.keys:
            _print_keys()
            return 0
        if args.check:
            _check(args)
            return 0
        finished = _train(args)
    except TrainingError as error:
        # All mistakes of a configuration are told at once, in a line each.
        for line in f"hdemucs: {error}".splitlines():
            note(line)
        return 1
    except ModuleNotFoundError as error:
        raise OptionError(
            f"training needs more packages ({error.name} is not here); pip install 'hdemucs[train]'"
        ) from error
    if finished.best.exists():
        print(finished.best)
    return 0


def _print_keys() -> None:
    from hdemucs.training.config.schema import describe

    rows = make_table("key", "type", "default", "what it is")
    for key in describe():
        rows.add_row(*map(plain, (key.name, key.type, str(key.default), key.help)))
    print_table(rows)


def _check(args: argparse.Namespace) -> None:
    from hdemucs.training.config.load import dump
    from hdemucs.training.start import check

    with _display() as (_, scanning):
        config, model, songs = check(args.config, args.settings, scanning=scanning)
    note(songs.report())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    note(f"{type(model).__name__} of {parameters / 1e6:.2f} M parameters for {', '.join(model.sources)}")
    print(dump(config), end="")


def _train(args: argparse.Namespace) -> Run:
    from hdemucs.training.start import resume, train

    with _display() as (progress, scanning):
        if args.resume is not None:
            return resume(args.resume, progress=progress, scanning=scanning)
        return train(args.config, args.settings, args.out, progress=progress, scanning=scanning)


@contextmanager
def _display() -> Iterator[tuple[Any, Any]]:
    """Two listeners that draw one bar; what is logged goes above it."""
    with progress_bar() as bar:
        task = bar.add_task("", total=None)

        def step(event: Step) -> None:
            text = f"epoch {event.epoch}/{event.epochs}, loss {event.loss:.4f}"
            done = (event.epoch - 1) * event.steps + event.step
            bar.update(task, description=text, completed=done, total=event.epochs * event.steps)

        def scanning(done: int, total: int) -> None:
            bar.update(task, description="looking through the songs", completed=done, total=total)

        handler = _Above(bar)
        logger = logging.getLogger("hdemucs.training")
        logger.addHandler(handler)
        try:
            yield step, scanning
        finally:
            logger.removeHandler(handler)


class _Above(logging.Handler):
    """Prints what is logged above a bar, or where there is none."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message alone: a terminal shows when it comes."""
        if self.bar.console.is_terminal:
            self.bar.console.print(plain(record.getMessage()))
        else:
            note(record.getMessage())
