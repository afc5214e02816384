"""Several singers, or several takes of one: doubled lines, harmonies and choirs, in stereo."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.voice.singer import in_range, sing
from hdemucs.synthesis.voice.styles import SingingStyle
from hdemucs.synthesis.voice.voices import Voice

MAJOR = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of a major scale above its root."""


def panned(mono: np.ndarray, position: float) -> np.ndarray:
    """Pan a mono signal `[length]` at equal power, from -1 (left) to 1 (right), to float32 `[2, length]`."""
    angle = (position + 1) * np.pi / 4
    return np.stack([mono * np.cos(angle), mono * np.sin(angle)]).astype(np.float32)


def scale_of(notes: Sequence[Note]) -> tuple[int, ...]:
    """Find the pitch classes, sorted, of the major scale or relative minor that fits a melody best."""
    held = np.zeros(12)
    for note in notes:
        held[round(note.pitch) % 12] += note.duration
    best = max(range(12), key=lambda root: sum(held[(root + step) % 12] for step in MAJOR))
    return tuple(sorted((best + step) % 12 for step in MAJOR))


def harmony(notes: Sequence[Note], steps: int, scale: Sequence[int] | None = None) -> list[Note]:
    """Transpose a melody by steps of a scale: 2 is a third above, -3 a fourth below, 7 an octave above.

    Args:
        notes: Melody. A note outside the scale moves by the same interval as the next lower scale note.
        steps: Number of scale steps; negative numbers go down.
        scale: Pitch classes of the scale; None for those that `scale_of` finds.
    """
    classes = sorted(scale_of(notes) if scale is None else scale)
    tones = [12 * octave + tone for octave in range(12) for tone in classes]
    moved = []
    for note in notes:
        place = max(0, int(np.searchsorted(tones, note.pitch, side="right")) - 1)
        target = tones[min(max(place + steps, 0), len(tones) - 1)]
        moved.append(replace(note, pitch=note.pitch + target - tones[place]))
    return moved


def humanised(notes: Sequence[Note], rng: np.random.Generator, timing: float = 0.015) -> list[Note]:
    """Vary timing and velocity of notes, as in another take; `timing` is a standard deviation in seconds."""
    return [
        replace(
            note,
            start=max(0.0, note.start + rng.normal(0, timing)),
            velocity=float(np.clip(note.velocity + rng.normal(0, 0.06), 0, 1)),
        )
        for note in notes
    ]


def doubles(
    notes: Sequence[Note],
    seconds: float,
    voice: Voice,
    rng: np.random.Generator,
    *,
    style: str | SingingStyle = "sung",
    formants: float = 1.0,
    lyrics: int = 0,
    takes: int = 2,
    width: float = 0.8,
) -> np.ndarray:
    """Sing further takes of a line with the same voice, spread from left to right, to support the first take.

    Args:
        notes: Melody, as for `sing`.
        seconds: Duration of the result in seconds.
        voice: Voice that provides the syllables.
        rng: Random generator for everything that varies from take to take.
        style: Style of singing, or its name.
        formants: Factor on the frequencies of all formants.
        lyrics: Seed of the syllables in the first take, so that the words are the same.
        takes: Number of takes.
        width: Pan position of the outermost takes, from 0 (centre) to 1 (sides).

    Returns:
        Float32 `[2, length]` at `RATE`, about as loud as one line.
    """
    mix = np.zeros((2, round(seconds * RATE)), dtype=np.float32)
    for position in np.linspace(-width, width, takes) if takes > 1 else [0.0]:
        line = humanised(notes, rng)
        take = sing(line, seconds, voice, rng, style=style, formants=formants, lyrics=lyrics)
        mix += panned(take, float(position))
    return mix / np.float32(np.sqrt(takes))


def choir(
    notes: Sequence[Note],
    seconds: float,
    voices: Sequence[Voice],
    rng: np.random.Generator,
    *,
    size: int = 6,
    steps: Sequence[int] = (0, 2, -3),
    scale: Sequence[int] | None = None,
    style: str | SingingStyle = "vowels",
    lyrics: int | None = None,
    width: float = 0.9,
) -> np.ndarray:
    """Sing a melody and its harmonies with a backing choir, each singer in a suitable octave.

    Args:
        notes: Melody, as for `sing`.
        seconds: Duration of the result in seconds.
        voices: Voices to draw from. Formants vary by up to 12%, so that a few voices make many singers.
        rng: Random generator for everything that varies from take to take.
        size: Number of singers.
        steps: Parts, in scale steps as for `harmony`, which the singers take in turn.
        scale: Pitch classes of the scale for harmonies; None for those that `scale_of` finds.
        style: Style of singing, or its name.
        lyrics: Seed of the syllables, the same for all singers; None draws one.
        width: Pan position of the outermost singers, from 0 (centre) to 1 (sides).

    Returns:
        Float32 `[2, length]` at `RATE`, about as loud as one line.
    """
    seed = int(rng.integers(2**32)) if lyrics is None else lyrics
    mix = np.zeros((2, round(seconds * RATE)), dtype=np.float32)
    positions = rng.permutation(np.linspace(-width, width, size))
    for index, position in enumerate(positions):
        voice = voices[int(rng.integers(len(voices)))]
        part = in_range(harmony(notes, steps[index % len(steps)], scale), voice)
        formants = float(rng.uniform(0.89, 1.12))
        line = humanised(part, rng, timing=0.025)
        take = sing(line, seconds, voice, rng, style=style, formants=formants, lyrics=seed)
        mix += panned(take, float(position))
    return mix / np.float32(np.sqrt(size))
