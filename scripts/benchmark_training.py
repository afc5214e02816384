"""Time and memory of a training step, beside that of the solver of the `demucs` package.

Same network (the published Hybrid Demucs, or a narrower one), batch, excerpts, loss and averages. The
singular value penalty differs between configurations of demucs, and a table is printed for each of two
comparisons:

- Equal penalties: a randomised SVD of rank 100 with 4 iterations of every weight of 2^18 values or more, LSTM
  included. It is that of the published runs: `svd=base2` in demucs, `configs/hdemucs_musdb.yaml` here.
- Each side's published configuration as it stands: `conf/config.yaml` of demucs has rank 1 and 2 iterations
  on convolutions of 0.1 MiB or more only; `configs/hdemucs_musdb.yaml` is the same as in the first table.

What differs inside an equal penalty: demucs differentiates through all iterations, this package takes the
gradient at the vectors found. Each run is a process of its own; all kinds alternate, and medians are printed.
Needs the `test` extra, and `dora-search` for the solver of demucs:

    .venv/bin/pip install dora-search
    .venv/bin/python scripts/benchmark_training.py --batch 4 --seconds 6 --runs 3
"""

import argparse
import importlib.util
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 44100
SHIFT = 1.0
"""Largest random shift in seconds, for which excerpts are longer."""

BASE2: dict[str, Any] = {"min_size": 1, "dim": 100, "niters": 4, "conv_only": False, "convtr": True}
"""`conf/svd/base2.yaml` of demucs: the penalty of its published runs, and of `configs/hdemucs_musdb.yaml`."""
DEFAULT: dict[str, Any] = {"min_size": 0.1, "dim": 1, "niters": 2, "conv_only": True, "convtr": False}
"""`svd` in `conf/config.yaml` of demucs."""
PENALTIES = {"demucs": BASE2, "demucs-default": DEFAULT}
TABLES = {
    "Equal penalties (both: rank 100, 4 iterations, all weights of 2^18 values or more)": "demucs",
    "Published configurations (demucs: rank 1, 2 iterations, convolutions of 0.1 MiB or more; "
    "hdemucs: as above)": "demucs-default",
}
"""Title of each table, and what hdemucs is compared with in it."""


def examples(args: argparse.Namespace) -> torch.Tensor:
    """Noise `[batch, sources, channels, samples]`, which takes as long as music."""
    generator = torch.Generator().manual_seed(0)
    length = round((args.seconds + SHIFT) * RATE)
    return 0.1 * torch.randn(args.batch, len(SOURCES), 2, length, generator=generator)


def ours(args: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds that each step takes in this package."""
    import numpy as np
    import soundfile

    from hdemucs.training.build import build_trainer
    from hdemucs.training.run import Run
    from hdemucs.training.start import check

    for source in SOURCES:
        path = folder / "songs" / "a" / f"{source}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (RATE * 20, 2)), RATE)
    settings = [
        f"data={folder / 'songs'}",
        f"batch_size={args.batch}",
        f"excerpts.segment={args.seconds}",
        f"excerpts.shift={SHIFT}",
        f"model.channels={args.channels}",
        f"precision={args.precision}",
    ]
    config, model, songs = check("hdemucs_musdb", settings)
    trainer = build_trainer(config, model, songs, Run(folder / "run"))
    device = trainer.accelerator.device
    stems = torch.cat(
        [examples(args), torch.zeros(args.batch, 1, 2, round((args.seconds + SHIFT) * RATE))], 1
    )
    known = torch.ones(args.batch, len(SOURCES), dtype=torch.bool)
    taken = []
    for step in range(args.steps + 1):
        started = time.perf_counter()
        batch = stems.to(device), known.to(device)
        trainer.train_step(*trainer.batches.augment(*batch, torch.Generator(device).manual_seed(step)))
        taken.append(time.perf_counter() - started)
    return taken[1:]


def theirs(args: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds that each step takes in `demucs.solver.Solver`, with the penalty of `args.package`."""
    # Its scoring imports a package that requires an FFmpeg binary, which no step uses.
    scoring: Any = types.ModuleType("demucs.evaluate")
    scoring.evaluate = scoring.new_sdr = None
    sys.modules["demucs.evaluate"] = scoring
    from demucs import solver as untyped
    from demucs.hdemucs import HDemucs
    from omegaconf import OmegaConf

    solver: Any = untyped
    link = types.SimpleNamespace(history=[])
    solver.get_xp = lambda: types.SimpleNamespace(folder=folder, link=link)
    config = OmegaConf.create(
        {
            "dset": {"samplerate": RATE, "shift": SHIFT},
            "augment": {
                "shift_same": False,
                "flip": True,
                "scale": {"proba": 1, "min": 0.25, "max": 1.25},
                "remix": {"proba": 1, "group_size": 4},
            },
            "optim": {"loss": "l1", "clip_grad": 0},
            "weights": [1.0] * len(SOURCES),
            "svd": {"penalty": 1e-5, **PENALTIES[args.package]},
            "quant": {"diffq": None, "qat": None},
            "ema": {"epoch": [0.9, 0.95], "batch": [0.9995, 0.9999]},
            "misc": {"num_prints": 0},
            "test": {"metric": "loss"},
            "max_batches": None,
            "valid_apply": True,
            "debug": False,
            "flag": None,
            "continue_pretrained": None,
            "continue_from": None,
        }
    )
    model = HDemucs(SOURCES, samplerate=RATE, channels=args.channels)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, betas=(0.9, 0.999))
    marks: list[float] = []
    batch = examples(args)

    class Loader:
        def __len__(self) -> int:
            return args.steps + 1

        def __iter__(self) -> Iterator[torch.Tensor]:
            for _ in range(args.steps + 1):
                marks.append(time.perf_counter())
                yield batch

    solver.Solver({"train": Loader()}, model, optimizer, config)._run_one_epoch(0)
    marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks[1:])]


def measure_here(args: argparse.Namespace) -> None:
    """Run one package in this process, and print the median time and the peak memory of its steps as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        taken = (ours if args.package == "hdemucs" else theirs)(args, Path(folder))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated()
    print(json.dumps({"seconds": statistics.median(taken), "memory": memory / 1e9}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=4, help="examples in a batch (default: 4)")
    parser.add_argument("--seconds", type=float, default=6, help="length of an excerpt (default: 6)")
    parser.add_argument(
        "--channels", type=int, default=48, help="width of the network (default: 48, as published)"
    )
    parser.add_argument("--steps", type=int, default=3, help="steps timed in each process (default: 3)")
    parser.add_argument("--runs", type=int, default=3, help="processes of each package (default: 3)")
    parser.add_argument(
        "--precision", default="no", help="precision of hdemucs: no, bf16 or fp16; demucs has float32 only"
    )
    parser.add_argument("--package", choices=["hdemucs", *PENALTIES], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.package:
        measure_here(args)
        return
    for module, package in (("demucs", "demucs"), ("dora", "dora-search")):
        if importlib.util.find_spec(module) is None:
            sys.exit(f"comparing with the solver of demucs needs its packages: pip install {package}")
    results: dict[str, list[dict[str, float]]] = {package: [] for package in ("hdemucs", *PENALTIES)}
    for _ in range(args.runs):
        for package, done in results.items():
            process = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--package", package],
                capture_output=True,
                text=True,
            )
            if process.returncode < 0:
                sys.exit(f"{package} was killed, probably for lack of memory; lower --seconds or --channels")
            if process.returncode:
                sys.exit(f"{package} failed:\n{process.stderr}")
            done.append(json.loads(process.stdout.splitlines()[-1]))
            # The published network takes ten minutes in all.
            print(f"run {len(done)}, {package}: {done[-1]['seconds']:.2f} s a step", file=sys.stderr)
    print(tables(results))


def tables(results: dict[str, list[dict[str, float]]]) -> str:
    """Markdown tables of medians over the runs of each package."""
    medians = {
        package: {key: statistics.median(one[key] for one in done) for key in ("seconds", "memory")}
        for package, done in results.items()
    }
    ours, lines = medians["hdemucs"], []
    for title, package in TABLES.items():
        theirs = medians[package]
        lines += [title, "", "| | a step | peak memory |", "|---|---|---|"]
        for name, row in (("hdemucs", ours), ("demucs", theirs)):
            lines.append(f"| {name} | {row['seconds']:.2f} s | {row['memory']:.2f} GB |")
        ratio, share = theirs["seconds"] / ours["seconds"], ours["memory"] / theirs["memory"]
        lines += ["", f"hdemucs is x{ratio:.2f} as fast, with x{share:.2f} of the memory", ""]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main()
