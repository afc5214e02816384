"""Time and peak memory of `hdemucs separate` and of the `demucs` command, for the same file and options.

Each run is a whole process, including start-up and loading the model; the two commands alternate, and medians
are printed. The full-size model has random weights, which take as long as trained ones. Needs the `test`
extra and Linux or macOS:

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
class Usage:
    """Resources that one process used.

    Attributes:
        seconds: Wall time in seconds.
        memory: Peak resident memory in GB.
    """

    seconds: float
    memory: float


def run(command: list[str]) -> Usage:
    """Run a command to its end; exit with its messages if it fails."""
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{messages.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(seconds, usage.ru_maxrss * unit / 1e9)


def write_model(folder: Path, segment: int) -> None:
    """Write a model in the format of `demucs`, which both commands can read."""
    import torch
    from demucs.hdemucs import HDemucs

    torch.manual_seed(0)
    kwargs = {"sources": SOURCES, "samplerate": RATE, "segment": segment}
    state = {name: value.half() for name, value in HDemucs(**kwargs).state_dict().items()}
    package = {"klass": HDemucs, "args": (), "kwargs": kwargs, "state": state, "training_args": {}}
    torch.save(package, folder / "bench.th")


def write_song(path: Path, seconds: float, song: Path | None) -> None:
    """Write a song, repeated to the given length in seconds; noise with beats and tones if it is None."""
    import numpy as np
    import soundfile

    length = int(seconds * RATE)
    if song is not None:
        samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
        if rate != RATE:
            sys.exit(f"the sample rate of {song} is {rate} Hz; it must be {RATE} Hz")
    else:
        time = np.arange(10 * RATE) / RATE
        beat = np.exp(-8 * (time % 0.5)) * np.random.default_rng(0).normal(0, 0.2, len(time))
        tone = 0.1 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 1331 * time)
        samples = np.stack([beat + tone, beat - tone], 1).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        while length > 0:
            file.write(samples[:length])
            length -= len(samples)


def call_in_process(function: Callable[..., None], *args: object) -> None:
    """Call a function in a separate process: on Linux, a parent's peak memory counts for its children."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=args)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{function.__name__} failed")


def commands(folder: Path, song: Path, segment: int) -> list[list[str]]:
    """The same separation by the command of this package and by that of `demucs`."""
    python = Path(sys.executable)
    shared = ["--segment", str(segment), "--overlap", "0.25", "-d", "cpu"]
    ours = [str(python.with_name("hdemucs")), "separate", str(song), "-n", str(folder / "bench.th")]
    theirs = [str(python), "-m", "demucs", str(song), "-n", "bench", "--repo", str(folder), "--shifts", "0"]
    return [
        [*ours, *shared, "-o", str(folder / "ours"), "--overwrite"],
        [*theirs, *shared, "-o", str(folder / "theirs")],
    ]


def measure(peers: list[list[str]], runs: int) -> list[Usage]:
    """Median usage of each command; they take turns, so other load on the machine affects them equally."""
    rounds = [[run(command) for command in peers] for _ in range(runs)]
    return [
        Usage(statistics.median(one.seconds for one in done), statistics.median(one.memory for one in done))
        for done in zip(*rounds, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[20, 180], help="lengths of audio (default: 20 180)"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each command (default: 3)")
    parser.add_argument(
        "--segment", type=int, default=44, help="segment in seconds (default: 44, as published)"
    )
    parser.add_argument("--song", type=Path, help="file to repeat to each length (default: noise and tones)")
    args = parser.parse_args()
    print("| audio | hdemucs | demucs | faster | hdemucs, peak | demucs, peak |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call_in_process(write_model, folder, args.segment)
        for seconds in args.seconds:
            call_in_process(write_song, folder / "song.wav", seconds, args.song)
            ours, theirs = measure(commands(folder, folder / "song.wav", args.segment), args.runs)
            print(
                f"| {seconds:g} s | {ours.seconds:.1f} s | {theirs.seconds:.1f} s "
                f"| x{theirs.seconds / ours.seconds:.2f} | {ours.memory:.2f} GB | {theirs.memory:.2f} GB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
