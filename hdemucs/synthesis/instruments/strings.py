"""Plucked strings: bass guitars, guitars and double basses, synthesised as sums of a string's modes.

A string plucked at a fraction of its length has partials `n` of amplitude `sin(n pi place) / n`. Stiffness
stretches them, a pickup weights each by `sin(n pi pickup)`, and high ones decay faster (Fletcher and Rossing,
The Physics of Musical Instruments, chapters 2 and 9).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from hdemucs.synthesis.mixing.effects import Band, equalise
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound

_LONGEST = 5.0  # seconds: maximum duration of a note
_PARTIALS = 60
_BODY = ((60, 110), (90, 220), (200, 450), (500, 1200))  # Hz: resonances of acoustic instruments
_VELOCITY_OCTAVES = 1.5  # octaves of brightness between the softest and the hardest stroke


@dataclass(frozen=True)
class StringPreset:
    """A kind of stringed instrument.

    It is not used in held-out songs, which evaluate a model on instruments that it was not trained on.

    Attributes:
        kind: Key of `STRINGS`.
    """

    kind: str
    in_held_out = False

    def draw(self, sounds: Sequence[Sound], rng: np.random.Generator) -> "PluckedString":
        """Draw an instrument of this kind from the ranges in `STRINGS`; `sounds` are not used."""
        drawn = {}
        for name, (low, high) in STRINGS[self.kind].items():
            logarithmic = low > 0 and name not in ("place", "pickup")
            drawn[name] = float(
                np.exp(rng.uniform(np.log(low), np.log(high))) if logarithmic else rng.uniform(low, high)
            )
        body = (
            []
            if drawn["pickup"]
            else [
                Band(
                    "peak", float(rng.uniform(low, high)), float(rng.uniform(-3, 6)), float(rng.uniform(1, 4))
                )
                for low, high in _BODY
            ]
        )
        return PluckedString(f"string {self.kind}", body=tuple(body), **drawn)


def strings(*kinds: str) -> tuple[StringPreset, ...]:
    """Presets for kinds of strings, for a row of `FAMILIES`."""
    return tuple(StringPreset(kind) for kind in kinds)


@dataclass(frozen=True)
class PluckedString:
    """An instrument with one string for each pitch.

    Attributes:
        label: Kind, for a song's description.
        place: Where the string is plucked, as a fraction of its length.
        pickup: Where a magnetic pickup senses the string, as a fraction of its length; 0 for acoustic
            instruments, which have none.
        brightness: Frequency in Hz at which a stroke of medium force has lost a factor of e in amplitude.
        stiffness: Inharmonicity coefficient: partial n is sharp by `sqrt(1 + stiffness * n ** 2)`.
        ring: Time constant of the decay of the lowest partials, in seconds.
        damping: Increase in decay rate per kHz: with 1, a partial at 1 kHz decays twice as fast.
        release: Time constant of the decay after the end of a note, in seconds.
        noise: Amplitude of finger or plectrum noise, relative to the tone.
        body: Resonances of an acoustic instrument's body.
    """

    label: str
    place: float
    pickup: float
    brightness: float
    stiffness: float
    ring: float
    damping: float
    release: float
    noise: float
    body: tuple[Band, ...] = ()

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Render notes; see `Player.play`. Both channels are identical."""
        total = round(seconds * RATE)
        audio = np.zeros(total, np.float32)
        tones: dict[float, np.ndarray] = {}
        for note in notes:
            start = round(note.start * RATE)
            if not 0 <= start < total:
                continue
            if note.pitch not in tones:
                tones[note.pitch] = _tones(self, note.pitch, rng)
            soft, hard = tones[note.pitch]
            length = min(round((note.duration + 5 * self.release) * RATE), len(soft), total - start)
            time = np.arange(length, dtype=np.float32) / RATE
            tone = (1 - note.velocity) * soft[:length] + note.velocity * hard[:length]
            tone += self.noise * rng.standard_normal(length).astype(np.float32) * np.exp(-time / 0.006)
            ended = np.exp(-np.maximum(time - note.duration, 0) / self.release)
            audio[start : start + length] += note.velocity * tone * ended
        audio = equalise(audio, self.body)
        return np.stack([audio, audio])


def _tones(string: PluckedString, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """Render one pitch with the softest stroke and with the hardest one, float32 `[2, length]`."""
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
            # A damped sine is the impulse response of a two-pole resonator.
            angle, radius = 2 * np.pi * partial / RATE, np.exp(-1 / (decay * RATE))
            tone += lfilter([weight * np.sin(angle)], [1, -2 * radius * np.cos(angle), radius**2], impulse)
        tone /= np.abs(tone).max() * 2
    # Cutting off a string that still rings would click.
    tones[:, -RATE // 10 :] *= np.linspace(1, 0, len(tones[0, -RATE // 10 :]))
    return tones.astype(np.float32)


_Ranges = dict[str, tuple[float, float]]


def _kind(
    place: tuple[float, float],
    pickup: tuple[float, float],
    brightness: tuple[float, float],
    stiffness: tuple[float, float],
    ring: tuple[float, float],
    damping: tuple[float, float],
    noise: tuple[float, float],
) -> _Ranges:
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


STRINGS: dict[str, _Ranges] = {
    "finger": _kind((0.12, 0.3), (0.1, 0.25), (300, 900), (3e-5, 2e-4), (1.0, 3.5), (1, 6), (0.003, 0.03)),
    "pick": _kind((0.06, 0.2), (0.08, 0.25), (700, 2500), (3e-5, 2e-4), (0.8, 3.0), (1, 5), (0.02, 0.1)),
    "slap": _kind((0.03, 0.12), (0.06, 0.2), (2500, 7000), (3e-5, 2e-4), (0.4, 1.5), (0.5, 3), (0.05, 0.3)),
    "upright": _kind((0.15, 0.35), (0, 0), (200, 600), (5e-5, 3e-4), (0.3, 1.2), (2, 8), (0.01, 0.06)),
    "electric": _kind((0.08, 0.25), (0.06, 0.25), (1200, 5000), (1e-5, 8e-5), (1, 4), (0.3, 2), (0.01, 0.05)),
    "steel": _kind((0.1, 0.3), (0, 0), (1500, 6000), (1e-5, 8e-5), (0.6, 2.0), (0.3, 2), (0.01, 0.08)),
    "nylon": _kind((0.12, 0.35), (0, 0), (500, 1800), (5e-6, 4e-5), (0.3, 1.2), (0.5, 3), (0.01, 0.05)),
    "palm": _kind((0.05, 0.15), (0.06, 0.25), (800, 3000), (1e-5, 8e-5), (0.06, 0.2), (1, 4), (0.02, 0.1)),
}
"""Kinds of instruments, with the range that each attribute of `PluckedString` is drawn from."""
