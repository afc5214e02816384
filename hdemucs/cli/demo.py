"""`hdemucs demo`: separates the clip that ships with hdemucs, and scores the result."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from hdemucs.cli.options import add_existing, in_flags
from hdemucs.cli.output import advice, make_table, note, plain, print_table, printable
from hdemucs.errors import StemsExistError
from hdemucs.pretrained import DEFAULT_MODEL, model_name

CLIPS = Path(__file__).parent.parent / "demo"
"""Folder of one song, whose stems add up to the clip; its `song.yaml` lists the sounds it is made of."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="separate a clip that ships with hdemucs",
        description="Separate a clip whose true stems are known into OUT/MODEL/demo/STEM.wav, with the "
        "mixture beside them, and print the SDR of each stem.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "-n",
        "--model",
        default=DEFAULT_MODEL,
        help="a name listed by `hdemucs models`, a model file, or hf://user/repo (default: %(default)s)",
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("separated"), help="output folder (default: separated)"
    )
    add_existing(parser)


def run(args: argparse.Namespace) -> int:
    """Run `hdemucs demo`."""
    import torch

    from hdemucs.datasets.songs import songs_in
    from hdemucs.evaluation.metrics.sdr import sdr
    from hdemucs.separator import Separator
    from hdemucs.stems import Stems
    from hdemucs.tracks import mark

    separator = Separator(args.model)
    (song,) = songs_in(CLIPS)
    rate, channels = separator.sample_rate, separator.model.audio_channels
    true = song.references(separator.stems, rate, channels)
    mixture = song.references(song.sources, rate, channels).sum(0)
    started = time.monotonic()
    stems = separator.separate(mixture, rate)
    taken = time.monotonic() - started
    model = model_name(separator.model)
    saved = Stems({"mixture": mixture, **stems}, rate, {})
    try:
        files = saved.save(args.out / model / "demo", existing=args.existing)
    except StemsExistError as error:
        raise in_flags(error) from error
    mark(args.out / model, [])

    scores = sdr(true, torch.stack(list(stems.values())))
    baseline = sdr(true, mixture.expand_as(true))
    rows = make_table("stem", "SDR", "of the mixture itself", "file")
    for stem, score, before in zip(stems, scores.tolist(), baseline.tolist(), strict=True):
        rows.add_row(stem, f"{score:.1f} dB", f"{before:.1f} dB", plain(printable(str(files[stem]))))
    rows.add_row("mean", f"{scores.mean():.1f} dB", f"{baseline.mean():.1f} dB", "")
    print_table(rows)
    seconds = mixture.shape[-1] / rate
    note(f"{seconds:.0f} s of music separated in {taken:.1f} s; the mixture is in {files['mixture']}")
    note(advice(model))
    return 0
