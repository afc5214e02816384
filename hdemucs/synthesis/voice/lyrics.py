"""Text setting: which syllable is sung on which notes, and when each part of it starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from hdemucs.synthesis.score.notes import Note
from hdemucs.synthesis.voice.styles import SingingStyle
from hdemucs.synthesis.voice.units import FRAME_RATE, Units

PHRASE_GAP = 0.2  # seconds: a longer rest ends a phrase
SHORTEST = 0.04  # seconds: shorter notes are not sung
LONGEST_ONSET = 0.22  # seconds: maximum duration of the consonants before the beat


@dataclass(frozen=True)
class Syllable:
    """A syllable of a voice, placed in a song.

    Attributes:
        unit: Index of the syllable in the voice's `Units`.
        velocity: Velocity of its first note, from 0 to 1.
        onset: Frame at which it starts.
        vowel: Frame at which its vowel starts.
        coda: Frame at which its vowel ends.
        stop: Frame at which it ends.
    """

    unit: int
    velocity: float
    onset: int
    vowel: int
    coda: int
    stop: int


def phrases_of(notes: Sequence[Note], seconds: float) -> list[list[Note]]:
    """Reduce notes to one line (the highest of a chord, cut where the next starts), and split it at rests."""
    phrases: list[list[Note]] = []
    heard = (note for note in notes if 0 <= note.start < seconds)
    line = sorted(heard, key=lambda note: (note.start, -note.pitch))
    for index, note in enumerate(line):
        following = line[index + 1].start if index + 1 < len(line) else seconds
        note = replace(note, duration=min(note.duration, following - note.start, seconds - note.start))
        if note.duration < SHORTEST:
            continue
        last = phrases[-1][-1] if phrases else None
        if last is None or note.start - last.start - last.duration > PHRASE_GAP:
            phrases.append([])
        phrases[-1].append(note)
    return phrases


def set_to_notes(
    phrase: list[Note], units: Units, style: SingingStyle, rng: np.random.Generator
) -> list[Syllable]:
    """Assign a syllable to each note that does not continue a vowel, with its vowel on the beat."""
    groups = [[phrase[0]]]
    for before, note in pairwise(phrase):
        if _is_slurred(before, note) and rng.uniform() < style.melisma:
            groups[-1].append(note)
        else:
            groups.append([note])
    chosen = _consecutive(units, len(groups), rng)
    lengths = np.diff(units.spans[chosen], axis=1)
    beats = [round(group[0].start * FRAME_RATE) for group in groups]
    ends = [round((group[-1].start + group[-1].duration) * FRAME_RATE) for group in groups]
    onsets = []
    for index, beat in enumerate(beats):
        room = 0.4 * (beat - beats[index - 1]) if index else beat
        wanted = min(lengths[index, 0], LONGEST_ONSET * FRAME_RATE) if style.consonants else 0
        onsets.append(beat - int(min(wanted, room)))
    syllables = []
    for index, (group, beat) in enumerate(zip(groups, beats, strict=True)):
        stop = min(ends[index], onsets[index + 1]) if index + 1 < len(groups) else ends[index]
        stop = min(stop, beat + int(style.stretch * lengths[index, 1] + lengths[index, 2]))
        coda = stop - int(min(lengths[index, 2], 0.35 * (stop - beat))) if style.consonants else stop
        syllables.append(Syllable(int(chosen[index]), group[0].velocity, onsets[index], beat, coda, stop))
    return syllables


def read_aloud(phrase: list[Note], units: Units, rng: np.random.Generator) -> list[Syllable]:
    """Place syllables in the rhythm of the recorded speech, from the start of a phrase to its end."""
    at, end = (
        round(phrase[0].start * FRAME_RATE),
        round((phrase[-1].start + phrase[-1].duration) * FRAME_RATE),
    )
    velocity = float(np.mean([note.velocity for note in phrase]))
    syllables: list[Syllable] = []
    for unit in _consecutive(units, max(1, (end - at) // 10), rng):
        onset, vowel, coda = np.diff(units.spans[unit])
        if syllables and at + onset + vowel + coda > end:
            break
        edges = np.minimum(at + np.cumsum([0, onset, vowel, coda]), end)
        syllables.append(Syllable(int(unit), velocity, *(int(edge) for edge in edges)))
        at = syllables[-1].stop
    return syllables


def _is_slurred(before: Note, note: Note) -> bool:
    """Whether a vowel may continue on the next note: no rest in between, and at most a fourth up or down."""
    return note.start - before.start - before.duration < 0.03 and 0 < abs(note.pitch - before.pitch) <= 5


def _consecutive(units: Units, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of consecutive units in the order of the speech, from a random one on, wrapping at the end.

    The start is drawn as a fraction of all units: with equal seeds, two voices start at about the same place.
    """
    return (int(rng.uniform() * len(units)) + np.arange(count)) % len(units)
