"""The pitch of a sung line: what lies between the notes of a score and the throat.

Steps become responses of a damped second-order system (preparation and overshoot), vibrato sets in late, and
slow drift and fine fluctuation never stop: Saitou, Unoki, Akagi: Development of an F0 control model based on
F0 dynamic characteristics for singing-voice synthesis, Speech Communication 46 (2005).
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import bilinear, lfilter

from hdemucs.synthesis.score.notes import Note
from hdemucs.synthesis.voice.manner import Manner
from hdemucs.synthesis.voice.units import FRAMES

SHORTEST_VIBRATO = 0.3  # s: notes below it have none


@dataclass(frozen=True)
class Vibrato:
    """One singer's: rate in Hz, depth in cents each way, delay after the onset of a note in seconds."""

    rate: float
    depth: float
    delay: float

    @classmethod
    def drawn(cls, manner: Manner, rng: np.random.Generator) -> "Vibrato":
        """Around a manner's depth: 5 to 7 Hz, starting 0.12 to 0.4 s late."""
        return cls(rng.uniform(5.0, 6.8), manner.vibrato * rng.uniform(0.5, 1.4), rng.uniform(0.12, 0.4))


def sung_pitch(
    phrase: list[Note], first: int, frames: int, manner: Manner, vibrato: Vibrato, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pitch of a phrase and its vibrato alone, `[frames]` each, as MIDI numbers and semitones.

    Args:
        phrase: notes, each ending where the next starts or before.
        first: frame on which the result starts; before the first note, its consonants have its pitch.
        frames: length.
    """
    times = (first + np.arange(frames)) / FRAMES
    steps = np.full(frames, float(phrase[0].pitch))
    sway = np.zeros(frames)
    for note in phrase:
        # Half of a change is over on the beat.
        steps[times >= note.start - manner.transition / 2] = note.pitch + rng.normal(0, manner.detune / 100)
        sway += _sway(note, times, vibrato, rng)
    pitch = steps[0] + _damped(steps - steps[0], manner)
    pitch += _slides(times - phrase[0].start, times - phrase[-1].start - phrase[-1].duration, manner, rng)
    drift = (
        _slow(frames, 1.0, rng) * manner.detune / 100 + _slow(frames, 12.0, rng) * min(manner.detune, 4) / 100
    )
    return pitch + drift + sway, sway


def spoken_pitch(turns: np.ndarray, spoken: np.ndarray, share: float) -> np.ndarray:
    """Pitch between speech and melody, as MIDI numbers, 0 where unvoiced.

    Args:
        turns: semitones by which the melody is above its middle, `[frames]`.
        spoken: pitch of the speech in Hz, 0 where unvoiced, `[frames]`.
        share: of the speech; the rest follows the melody's turns, a little above a speaking voice.
    """
    own = 69 + 12 * np.log2(np.where(spoken > 0, spoken, 440) / 440)
    return np.where(spoken > 0, own + (1 - share) * (np.clip(turns, -12, 12) + 3), 0.0)


def _sway(note: Note, times: np.ndarray, vibrato: Vibrato, rng: np.random.Generator) -> np.ndarray:
    since = times - note.start
    if note.duration < SHORTEST_VIBRATO:
        return np.zeros(len(times))
    inside = (since >= 0) & (since < note.duration)
    growth = np.clip((since - vibrato.delay) / 0.3, 0, 1)
    rate = vibrato.rate * rng.uniform(0.94, 1.06) * (1 + 0.02 * _slow(len(times), 2.0, rng))
    depth = vibrato.depth / 100 * rng.uniform(0.7, 1.2) * (1 + 0.15 * _slow(len(times), 2.0, rng))
    fade = np.clip((note.duration - since) / 0.08, 0, 1)
    return inside * growth * fade * depth * np.sin(2 * np.pi * np.cumsum(rate) / FRAMES)


def _damped(steps: np.ndarray, manner: Manner) -> np.ndarray:
    # Such a system has covered 90% of a step after about 2.3 / omega seconds.
    omega = 2.3 / manner.transition
    numerator, denominator = bilinear([omega**2], [1, 2 * manner.damping * omega, omega**2], FRAMES)
    return lfilter(numerator, denominator, steps)


def _slides(since: np.ndarray, until: np.ndarray, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Slides up into the first note and down from the last, in semitones."""
    scoop, fall = rng.uniform(0.5, 3.0), rng.uniform(0.5, 4.0)
    has_scoop, has_fall = rng.uniform(size=2) < (manner.scoop, manner.scoop / 2)
    rise = -float(has_scoop) * scoop * np.exp(-np.maximum(since, 0) / rng.uniform(0.03, 0.09))
    return rise - float(has_fall) * fall * np.clip(1 + until / rng.uniform(0.08, 0.18), 0, 1) ** 1.5


def _slow(frames: int, cutoff: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance below a frequency in Hz."""
    decay = np.exp(-2 * np.pi * cutoff / FRAMES)
    start = rng.standard_normal()
    noise = rng.standard_normal(frames) * np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], noise, zi=np.array([decay * start]))[0]
