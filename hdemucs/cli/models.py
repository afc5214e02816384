"""`hdemucs models`: the registry, and downloads ahead of use."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hdemucs.cli.output import make_table, note, plain, print_table


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "models", help="list models, or download one", description="List the registered models."
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("--json", action="store_true", help="print everything that is known of them as JSON")
    actions = parser.add_subparsers(metavar="[download]")
    download = actions.add_parser("download", help="fetch models ahead of use")
    download.add_argument("names", nargs="+", metavar="NAME", help="as `hdemucs models` lists them")
    download.set_defaults(run=run_download)


def run(args: argparse.Namespace) -> int:
    """`hdemucs models`: the registry."""
    import dataclasses

    from hdemucs.pretrained import cards, is_downloaded

    if args.json:
        rows = [{**dataclasses.asdict(card), "downloaded": is_downloaded(card)} for card in cards()]
        print(json.dumps(rows, indent=2))
        return 0
    rows = make_table("model", "SDR", "here", "what it is")
    for card in cards():
        scores = [score.overall for score in card.published if score.data == "MusDB-HQ test set"]
        sdr = f"{scores[0]:.2f}" if scores and scores[0] is not None else ""
        here = "ships" if card.shipped else "downloaded" if is_downloaded(card) else "no"
        rows.add_row(card.name, sdr, here, plain(card.summary))
    print_table(rows)
    note("SDR: published, MusDB-HQ test set, dB; --json says where, and under which licence")
    return 0


def run_download(args: argparse.Namespace) -> int:
    """`hdemucs models download`: files into the cache."""
    from hdemucs.pretrained import download, get_card

    wanted = [get_card(name) for name in args.names]
    for card in wanted:
        for path in download(card):
            print(path)
    return 0
