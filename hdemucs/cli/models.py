"""`hdemucs models`: lists the registered models, downloads them ahead of use, and converts model files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdemucs.cli.output import (
    complain,
    make_table,
    note,
    plain,
    print_table,
    printable,
    terminal_width,
    wrapped,
)
from hdemucs.errors import DownloadError, OptionError
from hdemucs.suggest import hint

if TYPE_CHECKING:
    from hdemucs.model import Model
    from hdemucs.pretrained import Card


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "models",
        help="list the models, download or convert one",
        usage="hdemucs models [--stem STEM] [--sort KEY] [--json]\n"
        "       hdemucs models download NAME [NAME ...] [--to FOLDER]\n"
        "       hdemucs models import FILE [-o OUT]",
        description="List the registered models, download some ahead of use, or convert a model file.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("--stem", metavar="STEM", help="only models that separate this stem, and how well")
    parser.add_argument("--sort", choices=SORTED_BY, help="best, smallest, or first in the alphabet first")
    parser.add_argument("--json", action="store_true", help="print everything known about them as JSON")
    actions = parser.add_subparsers(metavar="ACTION", prog="hdemucs models")
    _add_download(actions)
    _add_import(actions)


def _add_download(actions: Any) -> None:
    parser = actions.add_parser(
        "download", help="download models ahead of use", description="Download models ahead of use."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="names listed by `hdemucs models`")
    parser.add_argument("--all", action="store_true", help="all models")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="folder for a machine without a network: with TORCH_HOME set to it there, models are found",
    )
    parser.set_defaults(run=run_download, parser=parser, words="names")


def _add_import(actions: Any) -> None:
    parser = actions.add_parser(
        "import",
        help="convert a model file",
        description="Convert a model of demucs, torchaudio or hdemucs into one file of hdemucs, or a bag of "
        "models into a folder of such files, and check that it separates noise into the same stems, bit for "
        "bit.",
    )
    parser.add_argument("file", metavar="FILE", help="anything that `hdemucs separate --model` takes")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        help="file to write, folder in the case of a bag (default: FILE's name in the current folder)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")
    parser.set_defaults(run=run_import, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run `hdemucs models`."""
    import dataclasses

    from hdemucs.pretrained import is_downloaded

    chosen = _chosen(args.stem, args.sort)
    if args.json:
        rows = [{**dataclasses.asdict(card), "downloaded": is_downloaded(card)} for card in chosen]
        print(json.dumps(rows, indent=2))
        return 0
    sdr = "SDR" if args.stem is None else f"SDR of {args.stem}"
    # The list of all models stays a table in a terminal of 80 columns.
    width = terminal_width(sys.stdout)
    licence = ["licence"] if args.stem is not None or width is None or width >= 100 else []
    rows = make_table("model", sdr, "size", "here", *licence, "description")
    for card in chosen:
        score = _sdr(card, args.stem)
        here = "ships" if card.shipped else "downloaded" if is_downloaded(card) else "no"
        size = "" if card.size is None else f"{card.size / 1e6:.0f} MB"
        terms = [card.terms] if licence else []
        number = "" if score is None else f"{score:.2f}"
        rows.add_row(card.name, number, size, here, *terms, plain(card.summary))
    print_table(rows)
    note("SDR: as published, on MusDB-HQ's test set, in dB; --json prints sources and licences in full")
    return 0


def _chosen(stem: str | None, key: str | None) -> list[Card]:
    """Cards of the models that have a stem, in the order asked for; unknown numbers come last."""
    from hdemucs.pretrained import cards

    chosen = [card for card in cards() if stem is None or stem in card.sources]
    if not chosen:
        known = list(dict.fromkeys(source for card in cards() for source in card.sources))
        remedy = hint(str(stem), known) or f"; choose from {', '.join(known)}"
        raise OptionError(f"no model separates a stem {stem!r}{remedy}")
    return sorted(chosen, key=lambda card: SORTED_BY[key](card, stem)) if key else chosen


def _sdr(card: Card, stem: str | None) -> float | None:
    return card.musdb_sdr if stem is None else card.musdb_sdr_of(stem)


SORTED_BY: dict[str, Any] = {
    "sdr": lambda card, stem: -(_sdr(card, stem) or -1000),
    "size": lambda card, stem: card.size or 10**15,
    "name": lambda card, stem: card.name,
}
"""Keys to sort cards by, given the card and the stem that is asked for."""


def run_download(args: argparse.Namespace) -> int:
    """Run `hdemucs models download`."""
    from hdemucs.pretrained import cards, download, get_card

    if args.all == bool(args.names):
        args.parser.error("give names of models, or --all")
    wanted = cards() if args.all else [get_card(name) for name in args.names]
    failed = False
    for card in wanted:
        # What ships is there wherever hdemucs is.
        if args.to is not None and card.shipped:
            continue
        try:
            for path in download(card, home=args.to):
                print(path)
        except DownloadError as error:
            complain(str(error))
            failed = True
    if args.to is not None and not failed:
        note(f"on the machine without a network, set TORCH_HOME to where {printable(str(args.to))} is")
    return int(failed)


def run_import(args: argparse.Namespace) -> int:
    """Run `hdemucs models import`."""
    from hdemucs.pretrained import load_model
    from hdemucs.pretrained.convert import convert

    model = load_model(args.file)
    out = convert(model, args.out, overwrite=args.overwrite)
    width = terminal_width(sys.stdout)
    print(wrapped(printable(str(out)), width))
    for line in (*_portrait(model, out), f"separates noise into the same stems as {printable(args.file)}"):
        print(wrapped(f"  {line}", width, indent=4))
    return 0


def _portrait(model: Model, path: Path) -> list[str]:
    """What a model is, in lines: architecture and size, sources, audio."""
    from hdemucs.model import Bag

    members = list(model.models) if isinstance(model, Bag) else [model]
    kinds = " and ".join(sorted({type(member).__name__ for member in members}))
    kind = f"bag of {len(members)} {kinds}" if isinstance(model, Bag) else kinds
    parameters = sum(parameter.numel() for parameter in model.parameters())
    files = path.iterdir() if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    return [
        f"{kind}, {parameters / 1e6:.1f} M parameters, {size / 1e6:.1f} MB",
        f"sources: {', '.join(map(printable, model.sources))}",
        f"{model.sample_rate} Hz, {model.audio_channels} channels, segments of {model.segment:g} s",
    ]
