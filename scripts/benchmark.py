"""Time and peak memory of `hdemucs separate` beside the `demucs` command, with the same file and options.

Whole processes, start-up and loading included, alternating; medians. The full-size model has random
weights, which take as long as trained ones. Needs the test extra and Linux or macOS:

    .venv/bin/python scripts/benchmark.py --seconds 20 180 --runs 3
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 44100


@dataclass
class Run:
    """One process: seconds of wall time, and peak resident memory in GB."""

    seconds: float
    memory: float


def run(command: list[str]) -> Run:
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{messages.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_maxrss * unit / 1e9)


def write_model(folder: Path, segment: int) -> None:
    import torch
    from demucs.hdemucs import HDemucs

    torch.manual_seed(0)
    kwargs = {"sources": SOURCES, "samplerate": RATE, "segment": segment}
    state = {name: value.half() for name, value in HDemucs(**kwargs).state_dict().items()}
    package = {"klass": HDemucs, "args": (), "kwargs": kwargs, "state": state, "training_args": {}}
    torch.save(package, folder / "bench.th")


def write_song(path: Path, seconds: float, song: Path | None) -> None:
    """The song, repeated to the wanted length; without one, noise with beats and tones."""
    import numpy as np
    import soundfile

    frames = int(seconds * RATE)
    if song is not None:
        samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
        if rate != RATE:
            sys.exit(f"{song} has {rate} Hz; the benchmark wants {RATE}")
    else:
        time = np.arange(10 * RATE) / RATE
        beat = np.exp(-8 * (time % 0.5)) * np.random.default_rng(0).normal(0, 0.2, len(time))
        tone = 0.1 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 1331 * time)
        samples = np.stack([beat + tone, beat - tone], 1).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        while frames > 0:
            file.write(samples[:frames])
            frames -= len(samples)


def apart(function: Callable[..., None], *args: object) -> None:
    """Call in a process of its own: Linux counts a parent's peak memory as its child's."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=args)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{function.__name__} failed")


def commands(folder: Path, song: Path, segment: int) -> dict[str, list[str]]:
    python = Path(sys.executable)
    shared = ["--segment", str(segment), "--overlap", "0.25", "-d", "cpu"]
    ours = [str(python.with_name("hdemucs")), "separate", str(song), "-n", str(folder / "bench.th")]
    theirs = [str(python), "-m", "demucs", str(song), "-n", "bench", "--repo", str(folder), "--shifts", "0"]
    return {
        "hdemucs": [*ours, *shared, "-o", str(folder / "ours"), "--overwrite"],
        "demucs": [*theirs, *shared, "-o", str(folder / "theirs")],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, nargs="+", default=[20, 180], help="lengths of audio")
    parser.add_argument("--runs", type=int, default=3, help="of each, alternating (default: 3)")
    parser.add_argument("--segment", type=int, default=44, help="seconds (default: 44, as published)")
    parser.add_argument("--song", type=Path, help="repeated to each length; default: made up")
    args = parser.parse_args()
    print("| audio | hdemucs | demucs | faster | hdemucs, peak | demucs, peak |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(write_model, folder, args.segment)
        for seconds in args.seconds:
            apart(write_song, folder / "song.wav", seconds, args.song)
            runs: dict[str, list[Run]] = {"hdemucs": [], "demucs": []}
            for _ in range(args.runs):
                for peer, command in commands(folder, folder / "song.wav", args.segment).items():
                    runs[peer].append(run(command))
            time = {peer: statistics.median(run.seconds for run in done) for peer, done in runs.items()}
            memory = {peer: statistics.median(run.memory for run in done) for peer, done in runs.items()}
            print(
                f"| {seconds:g} s | {time['hdemucs']:.1f} s | {time['demucs']:.1f} s "
                f"| x{time['demucs'] / time['hdemucs']:.2f} "
                f"| {memory['hdemucs']:.2f} GB | {memory['demucs']:.2f} GB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
