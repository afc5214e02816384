"""Time and peak memory of separating a file: hdemucs beside demucs and torchaudio, same weights and options.

Each run is a whole process, including start-up and loading the model. The peers take turns, so that other
load on the machine affects all of them, and medians are printed with their spread. The weights are random,
which take as long as trained ones. Peers:

- hdemucs in each precision that is asked for;
- demucs as shipped, and demucs with glibc told to keep freed memory, as hdemucs tells it;
- torchaudio's HDemucs in chunks of 10 s, as in its tutorial (it has no HTDemucs).

Needs the `test` extra, and Linux or macOS:

    python scripts/benchmark.py --seconds 20 180 --runs 3 --json result.json
    python scripts/benchmark.py --table result.json
    python scripts/benchmark.py --profile
"""

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 44100
SEGMENTS = {"HDemucs": 44.0, "HTDemucs": 7.8}
"""Segment in seconds with which the models of each architecture were published."""
KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
}


@dataclass(frozen=True)
class Peer:
    """A way of separating a file.

    Attributes:
        name: Name in the table.
        command: Command that separates the file.
        environment: Environment variables to set for it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def peers(folder: Path, song: Path, architecture: str, segment: float, precisions: list[str]) -> list[Peer]:
    """All peers that can separate the file with the model in the folder; demucs as shipped is among them."""
    python = sys.executable
    shared = ["--overlap", "0.25", "-d", "cpu"]
    if segment != SEGMENTS["HTDemucs"]:  # demucs takes no fractions, and uses the model's own segment without
        shared += ["--segment", f"{segment:g}"]
    model = folder / "bench.th"
    ours = [python, "-m", "hdemucs", "separate", str(song), "-n", str(model), *shared, "--overwrite"]
    theirs = [python, "-m", "demucs", str(song), "-n", "bench", "--repo", str(folder), "--shifts", "0"]
    theirs += [*shared, "-o", str(folder / "demucs")]
    found = [
        Peer(f"hdemucs, {precision}", [*ours, "--precision", precision, "-o", str(folder / precision)])
        for precision in precisions
    ]
    found.append(Peer("demucs", theirs))
    if sys.platform == "linux":
        found.append(Peer("demucs, freed memory kept", theirs, KEEP_MEMORY))
    if architecture == "HDemucs":
        script = Path(__file__).with_name("benchmark_torchaudio.py")
        found.append(Peer("torchaudio", [python, str(script), str(song), str(model), str(folder / "ta")]))
    return found


def run(peer: Peer) -> tuple[float, float]:
    """Run a command to its end, or exit with its messages if it fails: seconds, and peak memory in GB."""
    start = perf_counter()
    process = subprocess.Popen(
        peer.command,
        env={**os.environ, **peer.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    if status:
        sys.exit(f"{' '.join(peer.command)} failed:\n{messages.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e9


def write_model(folder: Path, architecture: str, channels: int, segment: float) -> None:
    """Write a model with random weights in the format of `demucs`, which all peers can read."""
    import demucs.hdemucs
    import demucs.htdemucs
    import torch

    kind = {"HDemucs": demucs.hdemucs.HDemucs, "HTDemucs": demucs.htdemucs.HTDemucs}[architecture]
    torch.manual_seed(0)
    kwargs = {"sources": SOURCES, "channels": channels, "samplerate": RATE, "segment": segment}
    if architecture == "HTDemucs":  # as the published models: the transformer is 512 channels wide
        kwargs.update(bottom_channels=512, t_dropout=0.02, t_hidden_scale=4.0)
    state = {name: value.half() for name, value in kind(**kwargs).state_dict().items()}
    package = {"klass": kind, "args": (), "kwargs": kwargs, "state": state, "training_args": {}}
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


def machine() -> dict[str, Any]:
    """What the numbers depend on, besides the code."""
    name = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    versions = {package: importlib.metadata.version(package) for package in ("torch", "demucs", "hdemucs")}
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **versions,
    }


def commit() -> str:
    """Commit that is measured, with a plus sign if there are changes beside it; empty outside a checkout."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=10"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run all peers on all lengths in turn."""
    segment = args.segment or SEGMENTS[args.architecture]
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "model": {"architecture": args.architecture, "channels": args.channels, "segment": segment},
        "overlap": 0.25,
        "results": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call_in_process(write_model, folder, args.architecture, args.channels, segment)
        for seconds in args.seconds:
            song = folder / "song.wav"
            call_in_process(write_song, song, seconds, args.song)
            found = peers(folder, song, args.architecture, segment, args.precision)
            rounds = []
            for number in range(args.runs):
                print(f"{seconds:g} s, run {number + 1} of {args.runs}", file=sys.stderr, flush=True)
                rounds.append([run(peer) for peer in found])
            for peer, runs in zip(found, zip(*rounds, strict=True), strict=True):
                times, memory = ([round(one[index], 3) for one in runs] for index in (0, 1))
                report["results"].append(
                    {"audio": seconds, "peer": peer.name, "seconds": times, "gigabytes": memory}
                )
    return report


def table(report: Mapping[str, Any]) -> str:
    """Markdown table of a report: medians, slowest less fastest run, and the ratio to demucs as shipped."""
    lines = ["| audio | | time | beside demucs | peak memory |", "|---|---|---|---|---|"]
    results = report["results"]
    demucs = {one["audio"]: statistics.median(one["seconds"]) for one in results if one["peer"] == "demucs"}
    for one in results:
        seconds, spread = statistics.median(one["seconds"]), max(one["seconds"]) - min(one["seconds"])
        audio = f"{one['audio']:g} s" if one["audio"] < 120 else f"{one['audio'] / 60:g} min"
        lines.append(
            f"| {audio} | {one['peer']} | {seconds:.1f} s (±{spread / 2:.1f}) "
            f"| x{demucs[one['audio']] / seconds:.2f} | {statistics.median(one['gigabytes']):.2f} GB |"
        )
    return "\n".join(lines)


def profile(args: argparse.Namespace) -> str:
    """Table of the slowest operations of one warm pass over one segment, by their own time."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from hdemucs.apply import Options, apply_model
    from hdemucs.model import NETWORKS

    segment = min(args.segment or SEGMENTS[args.architecture], 10.0)
    torch.manual_seed(0)
    network = NETWORKS[args.architecture](SOURCES, channels=args.channels, segment=segment).eval()
    mix = torch.randn(2, int(segment * RATE))
    tables = []
    for precision in args.precision:
        options = Options(device="cpu", precision=precision)
        for _ in range(2):
            apply_model(network, mix, options)
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            apply_model(network, mix, options)
        events = sorted(recorded.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        tables += [f"{precision}: {total / 1e6:.2f} s for {segment:g} s", "", "| operation | calls | share |"]
        tables += ["|---|---|---|"]
        tables += [
            f"| {event.key} | {event.count} | {event.self_cpu_time_total / total:.1%} |"
            for event in events[:15]
        ]
        tables.append("")
    return "\n".join(tables)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[20, 180], help="lengths of audio (default: 20 180)"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each command (default: 3)")
    parser.add_argument("--architecture", choices=SEGMENTS, default="HDemucs", help="default: HDemucs")
    parser.add_argument("--channels", type=int, default=48, help="width (default: 48, as published)")
    parser.add_argument("--segment", type=float, help="segment in seconds (default: as published)")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["float32", "bfloat16"],
        help="precisions of hdemucs (default: both)",
    )
    parser.add_argument("--song", type=Path, help="file to repeat to each length (default: noise and tones)")
    parser.add_argument("--json", type=Path, help="file to write the report to")
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--profile", action="store_true", help="name the slowest operations instead")
    actions.add_argument("--table", type=Path, help="print the table of a report instead")
    args = parser.parse_args()
    if args.profile:
        print(profile(args))
    elif args.table:
        print(table(json.loads(args.table.read_text())))
    else:
        report = measure(args)
        if args.json:
            args.json.write_text(json.dumps(report, indent=1) + "\n")
        print(table(report))


if __name__ == "__main__":
    main()
