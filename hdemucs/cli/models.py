"""`hdemucs models`: lists the registered models, and downloads them ahead of use."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hdemucs.cli.output import make_table, note, plain, print_table


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "models",
        help="list the models, or download one",
        usage="hdemucs models [--json]\n       hdemucs models download NAME [NAME ...]",
        description="List the registered models, or download some ahead of use.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("--json", action="store_true", help="print everything known about them as JSON")
    actions = parser.add_subparsers(metavar="ACTION", prog="hdemucs models")
    download = actions.add_parser(
        "download", help="download models ahead of use", description="Download models ahead of use."
    )
    download.add_argument("names", nargs="+", metavar="NAME", help="names listed by `hdemucs models`")
    download.set_defaults(run=run_download, parser=download, words="names")


def run(args: argparse.Namespace) -> int:
    """Run `hdemucs models`."""
    import dataclasses

    from hdemucs.pretrained import cards, is_downloaded

    if args.json:
        rows = [{**dataclasses.asdict(card), "downloaded": is_downloaded(card)} for card in cards()]
        print(json.dumps(rows, indent=2))
        return 0
    rows = make_table("model", "SDR", "size", "here", "description")
    for card in cards():
        sdr = "" if card.musdb_sdr is None else f"{card.musdb_sdr:.2f}"
        here = "ships" if card.shipped else "downloaded" if is_downloaded(card) else "no"
        size = "" if card.size is None else f"{card.size / 1e6:.0f} MB"
        rows.add_row(card.name, sdr, size, here, plain(card.summary))
    print_table(rows)
    note("SDR: as published, on MusDB-HQ's test set, in dB; --json prints sources and licences")
    return 0


def run_download(args: argparse.Namespace) -> int:
    """Run `hdemucs models download`."""
    from hdemucs.pretrained import download, get_card

    wanted = [get_card(name) for name in args.names]
    for card in wanted:
        for path in download(card):
            print(path)
    return 0
