"""More than one singer, or one more than once: doubles, harmonies and choirs, in stereo."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.voice.manner import Manner
from hdemucs.synthesis.voice.singer import in_range, sing
from hdemucs.synthesis.voice.voices import Voice

MAJOR = (0, 2, 4, 5, 7, 9, 11)


def panned(mono: np.ndarray, position: float) -> np.ndarray:
    """Stereo `[2, frames]` at equal power, from -1 (left) to 1 (right)."""
    angle = (position + 1) * np.pi / 4
    return np.stack([mono * np.cos(angle), mono * np.sin(angle)]).astype(np.float32)


def scale_of(notes: Sequence[Note]) -> tuple[int, ...]:
    """Pitch classes of the major scale (its relative minor's too) that most of the melody's time is in."""
    held = np.zeros(12)
    for note in notes:
        held[round(note.pitch) % 12] += note.duration
    best = max(range(12), key=lambda root: sum(held[(root + step) % 12] for step in MAJOR))
    return tuple(sorted((best + step) % 12 for step in MAJOR))


def harmony(notes: Sequence[Note], steps: int, scale: Sequence[int] | None = None) -> list[Note]:
    """The melody moved by steps of a scale: 2 is a third above, -3 a fourth below, 7 an octave above.

    Args:
        notes: the melody; what is outside the scale moves as its neighbour below does.
        steps: negative ones go down.
        scale: pitch classes; None for `scale_of` the melody.
    """
    classes = sorted(scale_of(notes) if scale is None else scale)
    tones = [12 * octave + tone for octave in range(12) for tone in classes]
    moved = []
    for note in notes:
        place = max(0, int(np.searchsorted(tones, note.pitch, side="right")) - 1)
        target = tones[min(max(place + steps, 0), len(tones) - 1)]
        moved.append(replace(note, pitch=note.pitch + target - tones[place]))
    return moved


def loosened(notes: Sequence[Note], rng: np.random.Generator, timing: float = 0.015) -> list[Note]:
    """The same notes in another take: starts vary by a standard deviation in seconds, loudness too."""
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
    style: str | Manner = "sung",
    formants: float = 1.0,
    lyrics: int = 0,
    takes: int = 2,
    width: float = 0.8,
) -> np.ndarray:
    """Further takes of a line by the same singer, spread from left to right; to be mixed under the first.

    Args:
        notes, seconds, voice, rng, style, formants: as for `sing`.
        lyrics: the seed that the first take was sung with, so that the words are the same.
        takes: how many.
        width: position of the outermost, from 0 to 1.

    Returns:
        Stereo float32 `[2, frames]`, its level that of one line.
    """
    mix = np.zeros((2, round(seconds * RATE)), dtype=np.float32)
    for position in np.linspace(-width, width, takes) if takes > 1 else [0.0]:
        line = loosened(notes, rng)
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
    style: str | Manner = "vowels",
    lyrics: int | None = None,
    width: float = 0.9,
) -> np.ndarray:
    """A backing choir: several throats on the melody and its harmonies, each in its own octave and place.

    Args:
        notes, seconds, rng, style: as for `sing`.
        voices: drawn from, with formants up to 12% off, so that few voices are many people.
        size: singers.
        steps: parts, as in `harmony`; singers are dealt to them in turn.
        scale: for the harmonies; None for the melody's.
        lyrics: seed for the syllables, the same for all.
        width: position of the outermost, from 0 to 1.

    Returns:
        Stereo float32 `[2, frames]`, its level about that of one line.
    """
    seed = int(rng.integers(2**32)) if lyrics is None else lyrics
    mix = np.zeros((2, round(seconds * RATE)), dtype=np.float32)
    positions = rng.permutation(np.linspace(-width, width, size))
    for index, position in enumerate(positions):
        voice = voices[int(rng.integers(len(voices)))]
        part = in_range(harmony(notes, steps[index % len(steps)], scale), voice)
        throat = float(rng.uniform(0.89, 1.12))
        line = loosened(part, rng, timing=0.025)
        take = sing(line, seconds, voice, rng, style=style, formants=throat, lyrics=seed)
        mix += panned(take, float(position))
    return mix / np.float32(np.sqrt(size))
