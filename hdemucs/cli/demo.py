"""`hdemucs demo`: separates the clip that ships with hdemucs and says how well."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from hdemucs.cli.output import make_table, note, print_table
from hdemucs.cli.separate import credit
from hdemucs.pretrained import DEFAULT_MODEL

CLIPS = Path(__file__).parent.parent / "demo"
"""Has one song, as stems that add up to it; what it is made of is in its `song.yaml`."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="separate a clip that ships with hdemucs",
        description="Separate a clip of which the true stems are known: OUT/MODEL/demo/STEM.wav, with the "
        "mixture beside them, and the SDR of each stem.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "-n", "--model", default=DEFAULT_MODEL, help=f"as for `separate` (default: {DEFAULT_MODEL})"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("separated"), help="folder (default: separated)"
    )


def run(args: argparse.Namespace) -> int:
    """`hdemucs demo`."""
    import torch

    from hdemucs.datasets.songs import songs_in
    from hdemucs.evaluation.metrics.sdr import sdr
    from hdemucs.separator import Separator, Stems

    separator = Separator(args.model)
    (song,) = songs_in(CLIPS)
    rate, channels = separator.sample_rate, separator.model.audio_channels
    true = song.references(separator.stems, rate, channels)
    mixture = song.references(song.sources, rate, channels).sum(0)
    started = time.monotonic()
    stems = separator.separate(mixture, rate)
    taken = time.monotonic() - started
    name = getattr(separator.model, "name", "model")
    files = Stems({"mixture": mixture, **stems}, rate, {}).save(args.out / name / "demo")

    scores = sdr(true, torch.stack(list(stems.values())))
    untouched = sdr(true, mixture.expand_as(true))
    rows = make_table("stem", "SDR", "of the mixture itself", "file")
    for stem, score, before in zip(stems, scores.tolist(), untouched.tolist(), strict=True):
        rows.add_row(stem, f"{score:.1f} dB", f"{before:.1f} dB", str(files[stem]))
    rows.add_row("mean", f"{scores.mean():.1f} dB", f"{untouched.mean():.1f} dB", "")
    print_table(rows)
    seconds = mixture.shape[-1] / rate
    note(f"{seconds:.0f} s of music in {taken:.1f} s, and {files['mixture']} beside the stems")
    note(credit(name))
    return 0
