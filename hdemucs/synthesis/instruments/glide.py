"""Basses with one voice that glides from note to note: fretless, FM, wobbling, and 808 kicks as basses.

Partials of one running phase are summed; between overlapping notes the pitch slides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from hdemucs.synthesis.instruments.base import silence
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound

_PARTIALS = 16
_LOGARITHMIC = ("glide", "decay", "attack", "brightness", "rate")


@dataclass(frozen=True)
class GlidePreset:
    """A kind of gliding bass; not used in held-out songs.

    Attributes:
        kind: Key of `GLIDES`.
    """

    kind: str
    in_held_out = False

    def draw(self, sounds: Sequence[Sound], rng: np.random.Generator) -> "GlideBass":
        """Draw an instrument from the ranges in `GLIDES`; `sounds` are not used."""
        drawn = {
            name: float(np.exp(rng.uniform(*np.log(ends))) if name in _LOGARITHMIC else rng.uniform(*ends))
            for name, ends in GLIDES[self.kind].items()
        }
        ratio = float(rng.choice([0.5, 1, 2, 3])) if "index" in drawn else 1.0
        return GlideBass(f"glide {self.kind}", ratio=ratio, **drawn)


def glides(*kinds: str) -> tuple[GlidePreset, ...]:
    """Presets for kinds of gliding basses, for a row of `FAMILIES`."""
    return tuple(GlidePreset(kind) for kind in kinds)


@dataclass(frozen=True)
class GlideBass:
    """A gliding bass with all its knobs set.

    Attributes:
        label: Kind, for a song's description.
        ratio: Modulator frequency of FM, as a multiple of the carrier's.
        glide: Time constant of a slide between notes, in seconds.
        attack: Time constant of the rise of a note, in seconds.
        decay: Time constant of the decay to `sustain`, in seconds.
        sustain: Level of a held note, from 0 to 1.
        brightness: Number of the partial at which the amplitude has fallen by a factor of e.
        index: Modulation index of FM.
        rate: Frequency in Hz at which the brightness wobbles.
        wobble: Depth of that wobble in octaves, up and down.
        bend: Semitones by which a note starts too high, falling within 30 ms, like the skin of a kick drum.
        drive: Gain into a tanh curve, as a factor.
    """

    label: str
    ratio: float
    glide: float
    attack: float
    decay: float
    sustain: float
    brightness: float
    index: float = 0.0
    rate: float = 1.0
    wobble: float = 0.0
    bend: float = 0.0
    drive: float = 1.0

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Render notes; see `Player.play`. Of notes at the same time the latest is heard."""
        audio = silence(seconds)
        total = audio.shape[1]
        heard = sorted((n for n in notes if 0 <= round(n.start * RATE) < total), key=lambda note: note.start)
        if not heard:
            return audio
        pitch, level = np.zeros(total), np.zeros(total)
        for place, note in enumerate(heard):
            start = round(note.start * RATE)
            following = round(heard[place + 1].start * RATE) if place + 1 < len(heard) else total
            time = np.arange(following - start) / RATE
            pitch[start:following] = note.pitch + self.bend * np.exp(-time / 0.03)
            shape = self.sustain + (1 - self.sustain) * np.exp(-time / self.decay)
            level[start:following] = note.velocity * shape * (time < note.duration)
        first = round(heard[0].start * RATE)
        pitch[:first] = pitch[min(first, total - 1)]
        pitch = _smooth(pitch, self.glide)
        level = _smooth(_smooth(level, self.attack), self.attack)
        phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / RATE
        if self.index:
            phase = phase + self.index * level * np.sin(self.ratio * phase)
        time = np.arange(total) / RATE
        sway = 2 ** (self.wobble * np.sin(2 * np.pi * self.rate * time + rng.uniform(0, 6)))
        falling = np.exp(-1 / (self.brightness * sway * (0.4 + 0.6 * level)))
        rising, tone = np.ones(total), np.zeros(total)
        for partial in range(1, min(_PARTIALS, 1 + int(6 * self.brightness)) + 1):
            tone += rising * np.sin(partial * phase)
            rising *= falling
        bent = np.tanh(self.drive * tone * level) / max(1.0, self.drive**0.5) * 0.6
        bent[:first] = 0
        bent[np.abs(level) < 1e-5] = 0
        return np.stack([bent, bent]).astype(np.float32)


def _smooth(values: np.ndarray, seconds: float) -> np.ndarray:
    """Follow values with a time constant, from the first of them on."""
    pole = np.exp(-1 / (seconds * RATE))
    return lfilter([1 - pole], [1, -pole], values, zi=[pole * values[0]])[0]


_Ranges = dict[str, tuple[float, float]]

GLIDES: dict[str, _Ranges] = {
    "fretless": {
        "glide": (0.012, 0.06),
        "attack": (0.004, 0.012),
        "decay": (0.5, 2.0),
        "sustain": (0.2, 0.5),
        "brightness": (0.9, 2.2),
        "rate": (3.5, 6.0),
        "wobble": (0.0, 0.25),
    },
    "fm": {
        "glide": (0.001, 0.01),
        "attack": (0.001, 0.004),
        "decay": (0.08, 0.6),
        "sustain": (0.2, 0.8),
        "brightness": (0.3, 0.9),
        "index": (0.8, 4.0),
        "drive": (1.0, 2.0),
    },
    "wobble": {
        "glide": (0.002, 0.03),
        "attack": (0.002, 0.006),
        "decay": (0.5, 2.0),
        "sustain": (0.7, 1.0),
        "brightness": (1.0, 3.0),
        "rate": (1.0, 8.0),
        "wobble": (0.6, 1.6),
        "drive": (1.0, 4.0),
    },
    "808": {
        "glide": (0.002, 0.08),
        "attack": (0.001, 0.003),
        "decay": (0.3, 1.5),
        "sustain": (0.0, 0.3),
        "brightness": (0.15, 0.35),
        "bend": (0.0, 14.0),
        "drive": (1.0, 5.0),
    },
}
"""Kinds of gliding basses, with the range that each attribute of `GlideBass` is drawn from."""
