"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import Any

COMPUTATION = ("device", "segment", "overlap", "shifts", "batch_size")
"""Options of the computation, by their names in `hdemucs.apply.Options`."""


def add_computation(group: Any) -> None:
    """Add the options in `COMPUTATION` to an argument group."""
    add = group.add_argument
    add("-d", "--device", help="cpu, cuda, cuda:1, mps (default: cuda if available, else cpu)")
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
        help="number of shifted passes to average: slower, slightly better (default: 1)",
    )
    add(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="segments per forward pass; more than 1 helps on a GPU only (default: 1)",
    )


def computation(args: argparse.Namespace) -> dict[str, Any]:
    """Values of the options in `COMPUTATION`, as keywords of `Separator`."""
    return {name: getattr(args, name) for name in COMPUTATION}
