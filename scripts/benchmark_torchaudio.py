"""Separate a file with torchaudio's HDemucs in chunks, as its tutorial does: a peer of `benchmark.py`.

The track and all stems are in memory; chunks of 10 s overlap by 0.1 s, with linear fades.

    python scripts/benchmark_torchaudio.py song.wav bench.th stems
"""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import soundfile
import torch
from torch import Tensor

SEGMENT, OVERLAP = 10.0, 0.1  # seconds
NAMES = {
    "encoder": "freq_encoder",
    "decoder": "freq_decoder",
    "tencoder": "time_encoder",
    "tdecoder": "time_decoder",
}


def torchaudio_hdemucs() -> ModuleType:
    """torchaudio's module, read from its file: the package's compiled part needs a certain build of torch."""
    path = importlib.metadata.distribution("torchaudio").locate_file("torchaudio/models/_hdemucs.py")
    spec = importlib.util.spec_from_file_location("torchaudio_hdemucs", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path: Path) -> tuple[torch.nn.Module, list[str], int]:
    """Network with the weights of a model file of `demucs`, its sources and sample rate."""
    # The file was written by the benchmark itself.
    package = torch.load(path, weights_only=False, mmap=True)
    settings = package["kwargs"]
    network = torchaudio_hdemucs().HDemucs(settings["sources"], channels=settings["channels"])
    state = {}
    for name, value in package["state"].items():
        first, _, rest = name.partition(".")
        state[f"{NAMES.get(first, first)}.{rest}"] = value
    # Its merge layer has a normalisation that the network never runs.
    network.load_state_dict({**network.state_dict(), **state})
    return network.eval(), settings["sources"], settings["samplerate"]


def separate(network: torch.nn.Module, mix: Tensor, sources: int, rate: int) -> Tensor:
    """Stems `[S, C, L]` of a mixture `[C, L]`."""
    length, overlap, hop = mix.shape[-1], int(OVERLAP * rate), int(SEGMENT * rate)
    out = torch.zeros(sources, *mix.shape)
    ramp = torch.linspace(0, 1, overlap)
    for start in range(0, length, hop):
        end = min(start + hop + overlap, length)
        with torch.no_grad():
            chunk = network(mix[None, :, start:end])[0]
        if start:
            chunk[..., :overlap] *= ramp[: chunk.shape[-1]]
        if end < length:
            chunk[..., -overlap:] *= ramp.flip(0)
        out[..., start:end] += chunk
    return out


def main() -> None:
    song, model, folder = map(Path, sys.argv[1:])
    network, names, rate = load(model)
    samples, _ = soundfile.read(song, dtype="float32", always_2d=True)
    mix = torch.from_numpy(samples.T)
    mean, scale = mix.mean(), mix.mean(0).std()
    stems = separate(network, (mix - mean) / scale, len(names), rate) * scale + mean
    folder.mkdir(exist_ok=True)
    for name, stem in zip(names, stems, strict=True):
        soundfile.write(folder / f"{name}.wav", stem.T.numpy(), rate, "PCM_16")


if __name__ == "__main__":
    main()
