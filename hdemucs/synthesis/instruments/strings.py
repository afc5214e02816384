"""Plucked strings: bass guitars, guitars, double basses, each drawn anew, by the sum of a string's modes.

A string plucked at a fraction of its length has partials `n` of amplitude `sin(n pi place) / n`; stiffness
stretches them, a pickup hears each as `sin(n pi pickup)`, and high ones die sooner (Fletcher and Rossing,
The Physics of Musical Instruments, chapters 2 and 9).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from hdemucs.synthesis.score.notes import RATE, Note

_LONGEST = 5.0  # seconds of a note
_PARTIALS = 60
_VELOCITY_OCTAVES = 1.5  # by which the hardest stroke is brighter than the softest


@dataclass(frozen=True)
class PluckedString:
    """An instrument. Times in seconds, frequencies in Hz, places as fractions of the string.

    Attributes:
        place: where it is plucked.
        pickup: where a magnetic pickup hears it; 0 for none, as of acoustic instruments.
        brightness: where the partials of a stroke of medium force are down by e.
        stiffness: partial n is sharp by half of `stiffness * n ** 2`.
        ring: time constant of the lowest partials.
        damping: how much sooner partials of 1 kHz die: 1 for twice as soon.
        release: time constant after the note's end.
        noise: level of finger or plectrum beside the tone.
    """

    place: float
    pickup: float
    brightness: float
    stiffness: float
    ring: float
    damping: float
    release: float
    noise: float


def draw_string(kind: str, rng: np.random.Generator) -> PluckedString:
    """A random instrument of a kind: a key of `STRINGS`."""
    drawn = {}
    for name, (low, high) in STRINGS[kind].items():
        logarithmic = low > 0 and name not in ("place", "pickup")
        drawn[name] = float(
            np.exp(rng.uniform(np.log(low), np.log(high))) if logarithmic else rng.uniform(low, high)
        )
    return PluckedString(**drawn)


def play_string(
    string: PluckedString, notes: Sequence[Note], seconds: float, rng: np.random.Generator
) -> np.ndarray:
    """Notes played on a string of each pitch.

    Args:
        string: the instrument.
        notes: those that start after the end are left out; what rings on is cut.
        seconds: length of the result.
        rng: draws the noise of each stroke.

    Returns:
        float32 `[2, frames]`, both channels alike.
    """
    frames = round(seconds * RATE)
    audio = np.zeros(frames, np.float32)
    tones: dict[float, np.ndarray] = {}
    for note in notes:
        start = round(note.start * RATE)
        if not 0 <= start < frames:
            continue
        if note.pitch not in tones:
            tones[note.pitch] = _tones(string, note.pitch, rng)
        soft, hard = tones[note.pitch]
        length = min(round((note.duration + 5 * string.release) * RATE), len(soft), frames - start)
        time = np.arange(length, dtype=np.float32) / RATE
        tone = (1 - note.velocity) * soft[:length] + note.velocity * hard[:length]
        tone += string.noise * rng.standard_normal(length).astype(np.float32) * np.exp(-time / 0.006)
        ended = np.exp(-np.maximum(time - note.duration, 0) / string.release)
        audio[start : start + length] += note.velocity * tone * ended
    return np.stack([audio, audio])


def _tones(string: PluckedString, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """A note of the softest and of the hardest stroke, `[2, frames]`."""
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    n = np.arange(1, _PARTIALS + 1)
    partials = frequency * n * np.sqrt(1 + string.stiffness * n**2)
    n, partials = n[partials < 0.45 * RATE], partials[partials < 0.45 * RATE]
    shape = np.sin(np.pi * n * string.place) / n
    if string.pickup:
        shape = shape * np.sin(np.pi * n * string.pickup)
    decays = string.ring / (1 + string.damping * partials / 1000) * rng.uniform(0.7, 1.3, len(n))
    tones = np.zeros((2, round(min(_LONGEST, 6 * string.ring) * RATE)))
    impulse = np.zeros(tones.shape[1])
    impulse[1] = 1
    for octaves, tone in zip((-_VELOCITY_OCTAVES / 2, _VELOCITY_OCTAVES / 2), tones, strict=True):
        weights = shape * np.exp(-partials / (string.brightness * 2**octaves))
        for weight, partial, decay in zip(weights / np.abs(weights).max(), partials, decays, strict=True):
            if abs(weight) < 1e-4:
                continue
            # A damped sine is what a resonator makes of an impulse.
            angle, radius = 2 * np.pi * partial / RATE, np.exp(-1 / (decay * RATE))
            tone += lfilter([weight * np.sin(angle)], [1, -2 * radius * np.cos(angle), radius**2], impulse)
        tone /= np.abs(tone).max() * 2
    # Of a string that rings on for longer, the end would click.
    tones[:, -RATE // 10 :] *= np.linspace(1, 0, len(tones[0, -RATE // 10 :]))
    return tones.astype(np.float32)


_Limits = dict[str, tuple[float, float]]


def _kind(
    place: tuple[float, float],
    pickup: tuple[float, float],
    brightness: tuple[float, float],
    stiffness: tuple[float, float],
    ring: tuple[float, float],
    damping: tuple[float, float],
    noise: tuple[float, float],
) -> _Limits:
    return {
        "place": place,
        "pickup": pickup,
        "brightness": brightness,
        "stiffness": stiffness,
        "ring": ring,
        "damping": damping,
        "release": (0.02, 0.07),
        "noise": noise,
    }


STRINGS: dict[str, _Limits] = {
    "finger": _kind((0.12, 0.3), (0.1, 0.25), (300, 900), (3e-5, 2e-4), (1.0, 3.5), (1, 6), (0.003, 0.03)),
    "pick": _kind((0.06, 0.2), (0.08, 0.25), (700, 2500), (3e-5, 2e-4), (0.8, 3.0), (1, 5), (0.02, 0.1)),
    "upright": _kind((0.15, 0.35), (0, 0), (200, 600), (5e-5, 3e-4), (0.3, 1.2), (2, 8), (0.01, 0.06)),
    "electric": _kind((0.08, 0.25), (0.06, 0.25), (1200, 5000), (1e-5, 8e-5), (1, 4), (0.3, 2), (0.01, 0.05)),
    "steel": _kind((0.1, 0.3), (0, 0), (1500, 6000), (1e-5, 8e-5), (0.6, 2.0), (0.3, 2), (0.01, 0.08)),
    "nylon": _kind((0.12, 0.35), (0, 0), (500, 1800), (5e-6, 4e-5), (0.3, 1.2), (0.5, 3), (0.01, 0.05)),
    "palm": _kind((0.05, 0.15), (0.06, 0.25), (800, 3000), (1e-5, 8e-5), (0.06, 0.2), (1, 4), (0.02, 0.1)),
}
"""Kinds of instruments, and the ranges of `PluckedString` that are drawn."""
