"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import Any

from hdemucs.errors import HDemucsError, OutputError, StemsExistError

COMPUTATION = ("device", "segment", "overlap", "shifts", "batch_size", "precision")
"""Options of the computation, by their names in `hdemucs.apply.Options`."""

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
"""Those of `hdemucs.apply`, which cannot be asked before torch is imported."""


def add_computation(group: Any) -> None:
    """Add the options in `COMPUTATION` to an argument group."""
    add = group.add_argument
    add("-d", "--device", help="cpu, cuda, cuda:1, mps, xpu (default: a GPU if there is one)")
    add(
        "--segment",
        type=float,
        metavar="SECONDS",
        help="length of audio processed at once: longer takes more memory (default: the model's)",
    )
    add(
        "--overlap",
        type=float,
        default=0.25,
        metavar="FRACTION",
        help="overlap of successive segments (default: 0.25)",
    )
    add(
        "--shifts",
        type=int,
        default=1,
        metavar="N",
        help="number of passes to average, all but the first shifted: slower, slightly better (default: 1)",
    )
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="segments per forward pass (default: as many as fit on a CUDA GPU, up to 8; elsewhere 1)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="type to compute in; auto is the fastest that the processor or GPU has instructions for "
        "(default: %(default)s)",
    )


def add_existing(parser: Any) -> None:
    """Add the options for stems that exist to a parser; their value is one of `hdemucs.existing.Existing`."""
    group = parser.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--overwrite", "overwrite", "replace stems that exist"),
        ("--skip-existing", "skip", "keep stems that exist, and write only those that are missing"),
    ):
        group.add_argument(
            flag, dest="existing", action="store_const", const=value, default="error", help=text
        )


def in_flags(error: HDemucsError) -> HDemucsError:
    """Word the remedy for stems that exist as flags of the command."""
    if not isinstance(error, StemsExistError):
        return error
    return OutputError(f"{error.path} exists; choose --overwrite or --skip-existing")


def computation(args: argparse.Namespace) -> dict[str, Any]:
    """Values of the options in `COMPUTATION`, as keywords of `Separator`."""
    return {name: getattr(args, name) for name in COMPUTATION}
