"""Synthesised drums: a new drum machine for each song."""

import numpy as np
from scipy.signal import butter, sosfilt

from hdemucs.synthesis.drums.kits import Kit
from hdemucs.synthesis.score.notes import RATE


def synthesise_kit(rng: np.random.Generator) -> Kit:
    """Synthesise a kit with random tuning, decay and tone; every drum is dual mono."""
    metal = rng.uniform(0.0, 0.7)
    tuning = rng.uniform(0.8, 1.3)
    hat_decay = rng.uniform(0.02, 0.06)
    cutoff = rng.uniform(5000, 9000)
    strokes = {
        "kick": _kick(rng),
        "snare": _snare(rng),
        "rim": _ring(rng.uniform(1200, 2200), 0.02, rng) + 0.5 * _noise(0.1, 0.01, (800, 6000), rng),
        "clap": _clap(rng),
        "closed": _metallic(0.3, hat_decay, metal, tuning, cutoff, rng),
        "pedal": _metallic(0.3, hat_decay * 0.7, metal, tuning, cutoff, rng),
        "open": _metallic(1.2, rng.uniform(0.15, 0.4), metal, tuning, cutoff, rng),
        "ride": _metallic(2.0, rng.uniform(0.3, 0.6), 0.8, tuning, 4000, rng),
        "bell": _metallic(1.5, 0.4, 1.0, tuning * 1.3, 2500, rng),
        "crash": _metallic(3.5, rng.uniform(0.5, 1.0), metal * 0.5, tuning, 3000, rng),
        "splash": _metallic(1.5, 0.25, metal * 0.5, tuning * 1.2, 4000, rng),
        "shaker": _noise(0.15, rng.uniform(0.02, 0.04), (6000, 14000), rng, attack=0.01),
        "tambourine": _metallic(0.5, 0.07, 0.6, tuning * 1.8, 7000, rng),
        "cowbell": _square(540 * tuning, 0.4, 0.08) + _square(800 * tuning, 0.4, 0.08),
    }
    for drum, pitch in (
        ("low tom", 90),
        ("mid tom", 130),
        ("high tom", 180),
        ("low conga", 200),
        ("high conga", 300),
    ):
        decay = rng.uniform(0.12, 0.3) if "tom" in drum else rng.uniform(0.06, 0.12)
        strokes[drum] = (
            _sweep(pitch * tuning, 1.6, 0.04, decay)
            + 0.1 * _noise(0.8, 0.02, (500, 8000), rng)[: _length(0.8)]
        )
    return {drum: [_stereo(stroke)] for drum, stroke in strokes.items()}


def _length(seconds: float) -> int:
    """Convert a duration to samples."""
    return round(seconds * RATE)


def _time(seconds: float) -> np.ndarray:
    """Time of every sample in seconds."""
    return np.arange(_length(seconds)) / RATE


def _stereo(stroke: np.ndarray) -> np.ndarray:
    """Normalise a mono stroke, fade it out and return it as dual mono, float32 `[2, length]`."""
    stroke = stroke / np.abs(stroke).max()
    stroke[-_length(0.01) :] *= np.linspace(1, 0, _length(0.01))
    return np.repeat(stroke[None].astype(np.float32), 2, axis=0)


def _sweep(pitch: float, ratio: float, fall: float, decay: float, seconds: float = 0.8) -> np.ndarray:
    """A decaying sine whose frequency falls from `ratio * pitch` to `pitch` Hz."""
    time = _time(seconds)
    frequency = pitch * (1 + (ratio - 1) * np.exp(-time / fall))
    return np.sin(2 * np.pi * np.cumsum(frequency) / RATE) * np.exp(-time / decay)


def _noise(
    seconds: float, decay: float, band: tuple[float, float], rng: np.random.Generator, attack: float = 0.0
) -> np.ndarray:
    """A burst of band-passed noise, with the band in Hz."""
    time = _time(seconds)
    noise = sosfilt(butter(2, band, "band", fs=RATE, output="sos"), rng.standard_normal(len(time)))
    envelope = np.exp(-time / decay) * (np.minimum(time / attack, 1) if attack else 1)
    return noise * envelope


def _ring(pitch: float, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A decaying sine of random phase."""
    return np.sin(2 * np.pi * pitch * _time(0.1) + rng.uniform(0, 6)) * np.exp(-_time(0.1) / decay)


def _square(pitch: float, seconds: float, decay: float) -> np.ndarray:
    """A decaying square wave."""
    time = _time(seconds)
    return np.sign(np.sin(2 * np.pi * pitch * time)) * np.exp(-time / decay)


def _kick(rng: np.random.Generator) -> np.ndarray:
    """A sine sweep with a click, saturated."""
    body = _sweep(
        rng.uniform(42, 60), rng.uniform(2.5, 7), rng.uniform(0.01, 0.05), rng.uniform(0.1, 0.45), 1.2
    )
    click = _noise(1.2, 0.003, (1500, 9000), rng) * rng.uniform(0.05, 0.4)
    return np.tanh((body + click) * rng.uniform(1, 4))


def _snare(rng: np.random.Generator) -> np.ndarray:
    """A short tone for the drum and noise for the wires, saturated."""
    tone = _sweep(rng.uniform(150, 230), 1.5, 0.02, rng.uniform(0.04, 0.12))
    low = rng.uniform(400, 1500)
    noise = _noise(0.8, rng.uniform(0.05, 0.2), (low, rng.uniform(9000, 16000)), rng)
    return np.tanh((tone * rng.uniform(0.4, 1.0) + noise * rng.uniform(0.6, 1.4)) * rng.uniform(0.8, 2.5))


def _clap(rng: np.random.Generator) -> np.ndarray:
    """Bursts of noise a few milliseconds apart for several hands, and a longer one for the room."""
    band = (rng.uniform(600, 1000), rng.uniform(3000, 9000))
    clap = _noise(0.6, rng.uniform(0.06, 0.15), band, rng) * 0.7
    for hand in range(3):
        start = _length(hand * rng.uniform(0.008, 0.013))
        clap[start:] += _noise(0.6, 0.006, band, rng)[: len(clap) - start]
    return clap


def _metallic(
    seconds: float, decay: float, metal: float, tuning: float, cutoff: float, rng: np.random.Generator
) -> np.ndarray:
    """Hi-hats and cymbals: six inharmonic square waves and noise, high-passed at a cutoff in Hz."""
    time = _time(seconds)
    pitches = np.array([263, 400, 421, 474, 587, 845]) * tuning * 1.3
    squares = sum(np.sign(np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6))) for pitch in pitches) / 6
    mixed = metal * squares * 1.5 + (1 - metal) * rng.standard_normal(len(time)) * 0.6
    return sosfilt(butter(3, cutoff, "high", fs=RATE, output="sos"), mixed) * np.exp(-time / decay)
