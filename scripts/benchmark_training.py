"""Time and memory of a training step, beside that of the solver of the `demucs` package.

Same network (the published Hybrid Demucs, or a narrower one), batch, excerpts, loss, penalty and averages.
Each run is a process of its own; the two packages alternate, and medians are printed. Needs the `test` extra,
and `dora-search` for the solver of demucs:

    .venv/bin/pip install dora-search
    .venv/bin/python scripts/benchmark_training.py --batch 4 --seconds 6 --runs 3
"""

import argparse
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
    """Seconds that each step takes in `demucs.solver.Solver`, configured as for its published run."""
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
            "svd": {
                "penalty": 1e-5,
                "min_size": 0.1,
                "dim": 1,
                "niters": 2,
                "conv_only": True,
                "convtr": False,
            },
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
    parser.add_argument("--package", choices=["hdemucs", "demucs"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.package:
        measure_here(args)
        return
    results: dict[str, list[dict[str, float]]] = {"hdemucs": [], "demucs": []}
    for _ in range(args.runs):
        for package, done in results.items():
            process = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--package", package],
                capture_output=True,
                text=True,
            )
            if process.returncode:
                sys.exit(f"{package} failed:\n{process.stderr}")
            done.append(json.loads(process.stdout.splitlines()[-1]))
    seconds = {
        package: statistics.median(one["seconds"] for one in done) for package, done in results.items()
    }
    memory = {package: statistics.median(one["memory"] for one in done) for package, done in results.items()}
    print("| | a step | peak memory |\n|---|---|---|")
    for package in results:
        print(f"| {package} | {seconds[package]:.2f} s | {memory[package]:.2f} GB |")
    ratio, share = seconds["demucs"] / seconds["hdemucs"], memory["hdemucs"] / memory["demucs"]
    print(f"hdemucs is x{ratio:.2f} as fast, with x{share:.2f} of the memory")


if __name__ == "__main__":
    main()
