"""Time and memory of the metrics beside museval and fast_bss_eval, as a Markdown table.

Each run is a process of its own that reads the same signals from disk, so its peak memory is what a user
would see: interpreter, libraries, signals and computation. Its time is that of the metric alone, after torch
and NumPy have been imported. Tools take turns, so other load on the machine affects them equally.

Comparisons:

- BSS Eval v4: stereo, one score for each second, 512 taps. museval computes the same numbers.
- BSS Eval sources: mono, one score for the track, 512 taps. SIR and SAR of fast_bss_eval and of this
  library's `bss_eval` with a single window are the same numbers; SDR is defined differently.
- SI-SDR: mono, means not removed. Both compute the same numbers.

    python scripts/benchmark_metrics.py --seconds 240 --repeats 3
"""

import argparse
import importlib.metadata
import importlib.util
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RATE = 44100
COMPARISONS = {
    "BSS Eval v4": ("hdemucs bss_eval", "museval"),
    "BSS Eval sources": ("hdemucs bss_eval mono", "fast_bss_eval"),
    "SI-SDR": ("hdemucs si_sdr mono", "fast_bss_eval si_sdr"),
}


def hdemucs_bss_eval(references: Tensor, estimates: Tensor) -> Tensor:
    from hdemucs.evaluation import bss_eval

    scores = bss_eval(references, estimates, window=RATE, hop=RATE)
    return torch.stack([scores.sdr, scores.isr, scores.sir, scores.sar])


def museval_bss_eval(references: Tensor, estimates: Tensor) -> Tensor:
    # Importing the package requires an ffmpeg binary, which this module does not use.
    files = importlib.metadata.files("museval") or []
    path = next(file for file in files if file.as_posix() == "museval/metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", str(path.locate()))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    signals = [x.transpose(1, 2).numpy() for x in (references, estimates)]
    *scores, _ = module.bss_eval(*signals, window=RATE, hop=RATE, compute_permutation=False)
    return torch.from_numpy(np.stack(scores))


def hdemucs_mono(references: Tensor, estimates: Tensor) -> Tensor:
    from hdemucs.evaluation import bss_eval

    length = references.shape[-1]
    scores = bss_eval(references[:, :1], estimates[:, :1], window=length, hop=length)
    return torch.stack([scores.sir, scores.sar])


def fast_mono(references: Tensor, estimates: Tensor) -> Tensor:
    import fast_bss_eval  # type: ignore[import-untyped]

    signals = [x[:, 0].double() for x in (references, estimates)]
    _, sir, sar = fast_bss_eval.bss_eval_sources(*signals, filter_length=512, compute_permutation=False)
    return torch.stack([sir, sar])[..., None]


def hdemucs_si_sdr(references: Tensor, estimates: Tensor) -> Tensor:
    from hdemucs.evaluation import si_sdr

    return si_sdr(references[:, :1], estimates[:, :1])


def fast_si_sdr(references: Tensor, estimates: Tensor) -> Tensor:
    import fast_bss_eval

    signals = [x[:, 0].double() for x in (references, estimates)]
    return fast_bss_eval.si_sdr(*signals, zero_mean=False)


TOOLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hdemucs bss_eval": hdemucs_bss_eval,
    "museval": museval_bss_eval,
    "hdemucs bss_eval mono": hdemucs_mono,
    "fast_bss_eval": fast_mono,
    "hdemucs si_sdr mono": hdemucs_si_sdr,
    "fast_bss_eval si_sdr": fast_si_sdr,
}


def make_signals(folder: Path, sources: int, seconds: float) -> None:
    """Write noises of different colours at 16 bits, and estimates with some of the others and noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(sources, 2, int(seconds * RATE), generator=generator)
    colours = torch.randn(2 * sources, 1, 63, generator=generator) * 0.9 ** torch.arange(63)
    references = torch.conv1d(noise.flatten(0, 1), colours, padding="same", groups=2 * sources)
    references = (references.view_as(noise) * 1000).round() / 32768
    noise.normal_(generator=generator)
    estimates = 0.9 * references + 0.1 * references.sum(0, keepdim=True) + 0.01 * noise
    np.save(folder / "references.npy", references.numpy())
    np.save(folder / "estimates.npy", estimates.numpy())


def run_here(tool: str, folder: Path) -> None:
    """Run a tool in this process: write its scores, print its time and memory as JSON."""
    signals = [torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("references", "estimates")]
    start = time.perf_counter()
    scores = TOOLS[tool](*signals)
    seconds = time.perf_counter() - start
    np.save(folder / f"{tool}.npy", scores.numpy())
    # In KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps({"seconds": seconds, "gigabytes": peak / 1e9}))


def run_in_process(tool: str, folder: Path) -> dict[str, float]:
    """Run a tool in a separate process and return the seconds and gigabytes that it printed."""
    command = [sys.executable, __file__, "--run", tool, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def largest_difference(folder: Path, ours: str, theirs: str) -> float:
    """Largest difference in dB where their score is below 60 dB."""
    mine, other = (np.load(folder / f"{tool}.npy") for tool in (ours, theirs))
    return float(np.abs(mine - other)[other < 60].max())


def compare(folder: Path, metrics: list[str], repeats: int) -> None:
    """Print one row for each tool and metric."""
    print("| metric | tool | median time | peak memory | time ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for metric in metrics:
        tools = COMPARISONS[metric]
        runs: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
        for _ in range(repeats):
            for tool in tools:
                runs[tool].append(run_in_process(tool, folder))
        median = {tool: statistics.median(run["seconds"] for run in runs[tool]) for tool in tools}
        for tool in tools:
            peak = max(run["gigabytes"] for run in runs[tool])
            ratio, difference = median[tool] / median[tools[0]], largest_difference(folder, tools[0], tool)
            print(
                f"| {metric} | {tool} | {median[tool]:.2f} s | {peak:.2f} GB "
                f"| {ratio:.1f} | {difference:.1e} dB |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the metrics beside other libraries.")
    parser.add_argument("--seconds", type=float, default=240, help="length of the track (default: 240)")
    parser.add_argument("--sources", type=int, default=4, help="stereo sources (default: 4)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each tool (default: 3)")
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=COMPARISONS,
        default=list(COMPARISONS),
        help="metrics to compare; BSS Eval sources takes 18 GB for 4 minutes (default: all)",
    )
    parser.add_argument("--run", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_here(options.run, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        # In a separate process: on Linux, the peak memory of a process counts for its children.
        maker = multiprocessing.get_context("spawn").Process(
            target=make_signals, args=(Path(folder), options.sources, options.seconds)
        )
        maker.start()
        maker.join()
        compare(Path(folder), options.metrics, options.repeats)


if __name__ == "__main__":
    main()
