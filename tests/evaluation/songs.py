"""Small songs with stems, to score methods on."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
SOURCES = ["drums", "vocals"]


def stems(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """Two stems `[samples, 2]` that differ in frequency and time, as those of songs do."""
    generator = np.random.default_rng(seed)
    length = int(seconds * RATE)
    time = np.arange(length) / RATE
    noise = generator.normal(0, 0.3, (length, 2))
    tone = 2 * np.pi * (900 + 50 * seed) * time
    signals = {
        "drums": noise * np.exp(-20 * (time % 0.5))[:, None],
        "vocals": 0.3 * np.sin(tone + 5 * np.sin(2 * np.pi * 5 * time))[:, None] * [1, 0.7],
    }
    return {name: signal + 1e-3 * generator.normal(size=(length, 2)) for name, signal in signals.items()}


def write_song(folder: Path, seconds: float, seed: int, *, mixture: bool = True) -> None:
    """Write a folder of stems, with or without their mixture."""
    folder.mkdir(parents=True)
    signals = stems(seconds, seed)
    for name, signal in signals.items():
        soundfile.write(folder / f"{name}.wav", signal, RATE, subtype="FLOAT")
    if mixture:
        soundfile.write(folder / "mixture.wav", sum(signals.values()), RATE, subtype="FLOAT")
