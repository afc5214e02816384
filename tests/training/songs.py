"""Small songs whose stems a tiny network learns to separate within seconds."""

import os
from pathlib import Path

import numpy as np
import soundfile

from hdemucs.datasets import STEM_STREAMS
from hdemucs.synthesis.dataset import Task

RATE = 8000
SOURCES = ("drums", "bass")


def write_song(
    folder: Path, seed: int, seconds: float = 4.0, sources: tuple[str, ...] = SOURCES, rate: int = RATE
) -> None:
    """Write a folder of stems: bursts of noise on the beats, and tones."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    beat = 0.3 + 0.1 * generator.random()
    for number, source in enumerate(sources):
        if number == 0:
            signal = generator.normal(0, 0.2, (len(time), 2)) * np.exp(-15 * (time % beat))[:, None]
        else:
            tone = np.sin(2 * np.pi * number * (80 + 40 * generator.random()) * time)
            signal = 0.2 * tone[:, None] * [1.0, 0.8]
        soundfile.write(folder / f"{source}.wav", signal, rate, subtype="PCM_16")


def write_songs(folder: Path, count: int = 4, seconds: float = 4.0) -> Path:
    """Write songs of two stems to `train/` and `valid/`; returns `folder`."""
    for index in range(count):
        write_song(folder / "train" / f"song {index}", index, seconds)
    write_song(folder / "valid" / "held out", 100, seconds)
    return folder


SMALL = (
    "model.channels=4",
    "model.depth=3",
    "model.n_fft=256",
    "model.norm_starts=2",
    "model.lstm_starts=2",
    "model.attention_starts=2",
    "model.segment=1",
    f"excerpts.sample_rate={RATE}",
    "excerpts.segment=0.5",
    "excerpts.shift=0.1",
    "excerpts.workers=0",
    "batch_size=4",
    "epochs=3",
    "steps_per_epoch=8",
    "device=cpu",
    "optimizer.lr=0.02",
    "penalty.weight=1e-5",
    "validation.every=1",
    "penalty.smallest=100",
    "augment.remix_group=2",
    "augment.repitch.probability=0.3",
    "averages.per_batch=[0.9]",
    "averages.per_epoch=[0.5]",
)
"""Settings that make a configuration train in a second."""


def make_tones(task: Task) -> None:
    """Stand in for `hdemucs.synthesis.dataset.make`, which needs sounds that not every machine has."""
    assert task.seconds is not None
    task.folder.mkdir(parents=True)
    time = np.arange(round(task.seconds * 44100)) / 44100
    for index, name in enumerate(STEM_STREAMS):
        tone = np.sin(2 * np.pi * (100 + 50 * index + task.seed % 50) * time)
        soundfile.write(task.folder / f"{name}.wav", 0.1 * tone, 44100)


def lack_a_package(task: Task) -> None:
    raise ModuleNotFoundError("no such module", name="pyworld")


def be_killed(task: Task) -> None:
    os._exit(9)
