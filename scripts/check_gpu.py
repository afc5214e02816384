"""Whether hdemucs works on every device of this machine, and how fast: about a minute for each.

On each device, and in each precision that it has: how much a separated clip differs from the CPU's float32,
whether memory that runs out is survived, and how many seconds of audio the full-size network separates in a
second, beside `demucs` if that is installed. Its weights are random, which does not change the speed. Where a
machine has several CUDA GPUs, they are also timed together, one track each. Prints a Markdown table; the exit
status is 1 if anything is wrong.

    .venv/bin/python scripts/check_gpu.py
    .venv/bin/python scripts/check_gpu.py --devices cuda:1 --seconds 600 --json gpu.json
"""

import argparse
import contextlib
import copy
import json
import math
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any

import soundfile
import torch
from torch import Tensor

import hdemucs
from hdemucs.apply import Options, apply, apply_model
from hdemucs.apply.devices import ACCELERATORS, copy_to, find_device, release_memory
from hdemucs.batch import separate_tracks
from hdemucs.cli.demo import CLIPS
from hdemucs.datasets.songs import songs_in
from hdemucs.errors import HDemucsError
from hdemucs.model import HDemucs, Model, Network
from hdemucs.separator import Separator
from hdemucs.tracks import find_tracks

SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 44100
LEAST_ALIKE = {"float32": 60.0}
"""Least level of the stems above their difference from the CPU's, in dB: GPUs may round to 11 bits (TF32)."""
LEAST_ALIKE_ELSEWHERE = 30.0


@dataclass
class Result:
    """What was found on one device in one precision.

    Attributes:
        device: Device.
        precision: Precision; `float32` where hdemucs has no choice.
        alike: Level of the stems above their difference from those of the CPU in float32, in dB.
        memory: What happened when memory ran out: the notices, in short.
        speed: Seconds of audio per second.
        demucs: Seconds of audio per second that `demucs` separates in float32; None if it is not installed.
        fault: What is wrong; None if nothing is.
    """

    device: str
    precision: str
    alike: float = math.nan
    memory: str = ""
    speed: float = math.nan
    demucs: float | None = None
    fault: str | None = None


def devices_here() -> list[str]:
    """Every device that works on this machine, the CPU first."""
    names = ["cpu"]
    for kind in ACCELERATORS:
        count = torch.cuda.device_count() if kind == "cuda" else 1
        for name in [f"cuda:{index}" for index in range(count)] if kind == "cuda" else [kind]:
            with contextlib.suppress(HDemucsError):
                find_device(name)
                names.append(name)
    return names


def precisions(device: str) -> list[str]:
    """Precisions to check on a device; just float32 where `Options` has no choice."""
    if "precision" not in [field.name for field in fields(Options)]:
        return ["float32"]
    return ["float32", "bfloat16"] if device == "cpu" else ["float32", "bfloat16", "float16"]


def options(device: str, precision: str, **others: Any) -> Options:
    """Options with a precision, where there is one."""
    if "precision" in [field.name for field in fields(Options)]:
        others["precision"] = precision
    return Options(device=device, **others)


def clip() -> Tensor:
    """The clip that ships, `[2, L]`."""
    (song,) = songs_in(CLIPS)
    return song.references(song.sources, RATE, 2).sum(0)


def alike(estimate: Tensor, reference: Tensor) -> float:
    """Level of the reference above its difference from the estimate, in dB."""
    error = (estimate - reference).double().square().sum()
    return 10 * math.log10(float(reference.double().square().sum()) / max(float(error), 1e-30))


@contextlib.contextmanager
def little_memory(network: Network, longest: int) -> Iterator[None]:
    """Let a network run out of memory with more than `longest` samples in a batch."""
    forward = network.forward

    def limited(mix: Tensor) -> Tensor:
        if mix.shape[0] * mix.shape[-1] > longest:
            raise torch.OutOfMemoryError("out of memory, on purpose")
        return forward(mix)

    network.forward = limited  # type: ignore[method-assign]
    try:
        yield
    finally:
        del network.forward


@contextlib.contextmanager
def capped(device: str) -> Iterator[None]:
    """Leave torch so little of a GPU's memory that a segment does not fit."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(
        min(1.0, (torch.cuda.memory_allocated(device) + 3e8) / total), device
    )
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def survives(model: Network, mix: Tensor, chosen: Options, how: Any) -> tuple[Tensor, list[str]]:
    """Separate where memory runs out, and return the stems and what was said about it."""
    notices: list[str] = []
    with how:
        return torch.cat(list(apply(model, [mix], chosen, notice=notices.append)), -1), notices


def speed(separate: Callable[[Tensor], object], device: str, seconds: float) -> float:
    """Seconds of audio per second, after a first call that warms up."""
    mix = 0.1 * torch.randn(2, int(seconds * RATE))
    separate(mix[:, : 50 * RATE])
    synchronise(device)
    start = perf_counter()
    separate(mix)
    synchronise(device)
    return seconds / (perf_counter() - start)


def synchronise(device: str) -> None:
    """Wait until a device has finished."""
    kind = device.partition(":")[0]
    if kind != "cpu":
        getattr(torch, kind).synchronize()


def demucs_speed(device: str, seconds: float) -> float | None:
    """Seconds of audio per second by `demucs`; None if it is not installed."""
    try:
        from demucs.apply import apply_model as apply_demucs
        from demucs.hdemucs import HDemucs as DemucsNetwork
    except ImportError:
        return None
    network = DemucsNetwork(SOURCES, segment=44).eval()
    return speed(
        lambda mix: apply_demucs(network, mix[None], shifts=0, overlap=0.25, device=device), device, seconds
    )


def check(device: str, precision: str, small: Network, full: Model, seconds: float) -> Result:
    """Check everything on one device in one precision."""
    result = Result(device, precision)
    mix = clip()
    reference = apply_model(copy.deepcopy(small), mix, options("cpu", "float32", segment=10))
    model = copy.deepcopy(small)
    chosen = options(device, precision, segment=10)
    result.alike = alike(apply_model(model, mix, chosen), reference)

    shorter, notices = survives(model, mix, chosen, little_memory(model, 6 * RATE))
    result.memory = "; ".join(notice.partition(": ")[2] for notice in notices)
    same_pieces = apply_model(copy.deepcopy(small), mix, options("cpu", "float32", segment=5))
    if alike(shorter, same_pieces) < 10 or len(notices) != 1:
        result.fault = "memory that ran out was not survived"
    if device.startswith("cuda"):
        _, notices = survives(full, mix, chosen, capped(device))  # type: ignore[arg-type]
        result.memory += f" (capped: {notices[-1].partition(': ')[2] if notices else 'all fits'})"
    least = LEAST_ALIKE.get(precision, LEAST_ALIKE_ELSEWHERE)
    if not result.alike >= least:
        result.fault = f"stems differ from the CPU's: {result.alike:.0f} dB, not {least:.0f} dB or more"
    chosen = options(device, precision, segment=44)
    result.speed = speed(lambda mix: apply_model(full, mix, chosen), device, seconds)
    return result


def check_or_report(device: str, precision: str, small: Network, full: Model, seconds: float) -> Result:
    """Check, and take any error as the fault."""
    try:
        return check(device, precision, small, full, seconds)
    except Exception as error:  # whatever a driver raises is what the script is for
        return Result(device, precision, fault=" ".join(f"{type(error).__name__}: {error}".split())[:300])


def speed_together(gpus: Sequence[str], full: Network, seconds: float) -> float:
    """Seconds of audio per second of several CUDA GPUs, one track each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = 0.1 * torch.randn(int(seconds * RATE), 2)
        for index in range(2 * len(gpus)):
            soundfile.write(folder / f"{index}.wav", noise.numpy(), RATE)
        separator = Separator(full, device="cuda", jobs=len(gpus), segment=44)
        tracks = find_tracks([folder], folder / "out")
        start = perf_counter()
        outcomes = separate_tracks(separator, tracks, folder / "out")
        taken = perf_counter() - start
    if any(outcome.status != "written" for outcome in outcomes):
        sys.exit(f"several GPUs: {[str(outcome.error) for outcome in outcomes if outcome.error]}")
    return len(tracks) * seconds / taken


def table(results: Sequence[Result]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| device | precision | alike | memory ran out | audio per second | demucs | |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results:
        demucs = "" if r.demucs is None else f"{r.demucs:.1f} s (x{r.speed / r.demucs:.2f})"
        lines.append(
            f"| {r.device} | {r.precision} | {r.alike:.0f} dB | {r.memory} | {r.speed:.1f} s | {demucs} "
            f"| {r.fault or 'good'} |"
        )
    return "\n".join(lines)


def describe(device: str) -> str:
    """Name of a device's hardware."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the devices, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", nargs="+", help="devices to check (default: all that work here)")
    parser.add_argument(
        "--seconds", type=float, help="length of the track to time (default: 600 on a GPU, 60 on a CPU)"
    )
    parser.add_argument("--model", help="model to time (default: the full-size network, random weights)")
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args(arguments)
    names = args.devices or devices_here()
    print(f"hdemucs {hdemucs.__version__}, torch {torch.__version__}")
    small = Separator().model
    full = HDemucs(SOURCES).eval() if args.model is None else Separator(args.model).model
    assert isinstance(small, Network)
    results: list[Result] = []
    for device in names:
        print(f"{device}: {describe(device)}", flush=True)
        seconds = args.seconds or (60 if device == "cpu" else 600)
        found = [check_or_report(device, name, small, full, seconds) for name in precisions(device)]
        peer = demucs_speed(device, seconds)
        for result in found:
            result.demucs = peer
        results += found
        full.to("cpu")
        release_memory(torch.device(device))
    print(f"\n{table(results)}\n")
    gpus = [name for name in names if name.startswith("cuda")]
    if len(gpus) > 1:
        assert isinstance(full, Network)
        together = speed_together(gpus, copy_to(full, torch.device("cpu")), args.seconds or 600)
        print(f"{len(gpus)} GPUs together: {together:.1f} s of audio per second")
    if args.json is not None:
        rows = [asdict(result) for result in results]
        args.json.write_text(json.dumps({"torch": torch.__version__, "results": rows}, indent=2))
    return int(any(result.fault is not None for result in results))


if __name__ == "__main__":
    sys.exit(main())
