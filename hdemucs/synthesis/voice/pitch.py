"""Pitch contours of sung and spoken lines.

Steps between notes are smoothed by a damped second-order system (which overshoots), vibrato starts late, and
slow drift and fine fluctuation are always present, as in Saitou, Unoki, Akagi: Development of an F0 control
model based on F0 dynamic characteristics for singing-voice synthesis, Speech Communication 46 (2005).
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import bilinear, lfilter

from hdemucs.synthesis.score.notes import Note
from hdemucs.synthesis.voice.styles import SingingStyle
from hdemucs.synthesis.voice.units import FRAME_RATE

SHORTEST_VIBRATO = 0.3  # seconds: shorter notes have no vibrato


@dataclass(frozen=True)
class Vibrato:
    """A singer's vibrato.

    Attributes:
        rate: Rate in Hz.
        depth: Depth in cents, up and down.
        delay: Delay after the start of a note, in seconds.
    """

    rate: float
    depth: float
    delay: float

    @classmethod
    def drawn(cls, style: SingingStyle, rng: np.random.Generator) -> "Vibrato":
        """Draw a vibrato with a depth near that of a style."""
        return cls(rng.uniform(5.0, 6.8), style.vibrato * rng.uniform(0.5, 1.4), rng.uniform(0.12, 0.4))


def sung_pitch(
    phrase: list[Note],
    first: int,
    frames: int,
    style: SingingStyle,
    vibrato: Vibrato,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pitch contour of a sung phrase.

    Args:
        phrase: Notes, which must not overlap.
        first: Frame at which the contour starts; frames before the first note have its pitch.
        frames: Number of frames.
        style: Style of singing.
        vibrato: The singer's vibrato.
        rng: Random generator for everything that varies from take to take.

    Returns:
        Pitch as a MIDI note number `[frames]`, and the vibrato that it contains, in semitones `[frames]`.
    """
    times = (first + np.arange(frames)) / FRAME_RATE
    steps = np.full(frames, float(phrase[0].pitch))
    sway = np.zeros(frames)
    for note in phrase:
        # A change is half complete on the beat.
        steps[times >= note.start - style.transition / 2] = note.pitch + rng.normal(0, style.detune / 100)
        sway += _vibrato(note, times, vibrato, rng)
    pitch = steps[0] + _smoothed(steps - steps[0], style)
    pitch += _slides(times - phrase[0].start, times - phrase[-1].start - phrase[-1].duration, style, rng)
    drift = (
        _drift(frames, 1.0, rng) * style.detune / 100 + _drift(frames, 12.0, rng) * min(style.detune, 4) / 100
    )
    return pitch + drift + sway, sway


def spoken_pitch(turns: np.ndarray, spoken: np.ndarray, share: float) -> np.ndarray:
    """Blend the pitch of speech with a melody, as in rap.

    Args:
        turns: Melody relative to its median, in semitones `[frames]`.
        spoken: Pitch of the speech in Hz `[frames]`, 0 where unvoiced.
        share: Share of the speech from 0 to 1. The remaining share is the weight of the melody, raised by
            three semitones, which is added to the pitch of the speech.

    Returns:
        Pitch as a MIDI note number `[frames]`, 0 where unvoiced.
    """
    own = 69 + 12 * np.log2(np.where(spoken > 0, spoken, 440) / 440)
    return np.where(spoken > 0, own + (1 - share) * (np.clip(turns, -12, 12) + 3), 0.0)


def _vibrato(note: Note, times: np.ndarray, vibrato: Vibrato, rng: np.random.Generator) -> np.ndarray:
    """Vibrato of one note in semitones, at times in seconds `[frames]`."""
    since = times - note.start
    if note.duration < SHORTEST_VIBRATO:
        return np.zeros(len(times))
    inside = (since >= 0) & (since < note.duration)
    growth = np.clip((since - vibrato.delay) / 0.3, 0, 1)
    rate = vibrato.rate * rng.uniform(0.94, 1.06) * (1 + 0.02 * _drift(len(times), 2.0, rng))
    depth = vibrato.depth / 100 * rng.uniform(0.7, 1.2) * (1 + 0.15 * _drift(len(times), 2.0, rng))
    fade = np.clip((note.duration - since) / 0.08, 0, 1)
    return inside * growth * fade * depth * np.sin(2 * np.pi * np.cumsum(rate) / FRAME_RATE)


def _smoothed(steps: np.ndarray, style: SingingStyle) -> np.ndarray:
    """Smooth a contour `[frames]` with a damped second-order system."""
    # It covers 90% of a step in about 2.3 / omega seconds.
    omega = 2.3 / style.transition
    numerator, denominator = bilinear([omega**2], [1, 2 * style.damping * omega, omega**2], FRAME_RATE)
    return lfilter(numerator, denominator, steps)


def _slides(
    since: np.ndarray, until: np.ndarray, style: SingingStyle, rng: np.random.Generator
) -> np.ndarray:
    """Draw slides up into the first note and down from the last one, in semitones `[frames]`.

    Args:
        since: Time since the start of the first note, in seconds `[frames]`.
        until: Time since the end of the last note, in seconds `[frames]`; negative before it.
        style: Style of singing.
        rng: Random generator for the slides.
    """
    scoop, fall = rng.uniform(0.5, 3.0), rng.uniform(0.5, 4.0)
    has_scoop, has_fall = rng.uniform(size=2) < (style.scoop, style.scoop / 2)
    rise = -float(has_scoop) * scoop * np.exp(-np.maximum(since, 0) / rng.uniform(0.03, 0.09))
    return rise - float(has_fall) * fall * np.clip(1 + until / rng.uniform(0.08, 0.18), 0, 1) ** 1.5


def _drift(frames: int, cutoff: float, rng: np.random.Generator) -> np.ndarray:
    """Draw low-pass noise `[frames]` of unit variance; the cutoff is in Hz."""
    decay = np.exp(-2 * np.pi * cutoff / FRAME_RATE)
    start = rng.standard_normal()
    noise = rng.standard_normal(frames) * np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], noise, zi=np.array([decay * start]))[0]
