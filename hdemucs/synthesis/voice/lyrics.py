"""Which syllable is sung on which notes, and from when to when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from hdemucs.synthesis.score.notes import Note
from hdemucs.synthesis.voice.manner import Manner
from hdemucs.synthesis.voice.units import FRAMES, Units

PHRASE_GAP = 0.2  # s: a longer rest ends a phrase
SHORTEST = 0.04  # s: shorter notes are not sung
LONGEST_ONSET = 0.22  # s of consonants before the beat


@dataclass(frozen=True)
class Syllable:
    """A unit of a voice and where it is sung; times are frames.

    Attributes:
        unit: index of it.
        velocity: of its first note.
        onset, vowel, coda, stop: where consonants, vowel, closing consonants begin, and where all ends.
    """

    unit: int
    velocity: float
    onset: int
    vowel: int
    coda: int
    stop: int


def phrases_of(notes: Sequence[Note], seconds: float) -> list[list[Note]]:
    """Notes one at a time (of a chord the highest), cut where the next starts, grouped between rests."""
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
    phrase: list[Note], units: Units, manner: Manner, rng: np.random.Generator
) -> list[Syllable]:
    """A syllable for every note, save those that go on with a vowel; vowels start on the beat."""
    groups = [[phrase[0]]]
    for before, note in pairwise(phrase):
        if _is_bound(before, note) and rng.uniform() < manner.melisma:
            groups[-1].append(note)
        else:
            groups.append([note])
    chosen = _following(units, len(groups), rng)
    lengths = np.diff(units.spans[chosen], axis=1)
    beats = [round(group[0].start * FRAMES) for group in groups]
    ends = [round((group[-1].start + group[-1].duration) * FRAMES) for group in groups]
    onsets = []
    for index, beat in enumerate(beats):
        room = 0.4 * (beat - beats[index - 1]) if index else beat
        wanted = min(lengths[index, 0], LONGEST_ONSET * FRAMES) if manner.consonants else 0
        onsets.append(beat - int(min(wanted, room)))
    syllables = []
    for index, (group, beat) in enumerate(zip(groups, beats, strict=True)):
        stop = min(ends[index], onsets[index + 1]) if index + 1 < len(groups) else ends[index]
        stop = min(stop, beat + int(manner.stretch * lengths[index, 1] + lengths[index, 2]))
        coda = stop - int(min(lengths[index, 2], 0.35 * (stop - beat))) if manner.consonants else stop
        syllables.append(Syllable(int(chosen[index]), group[0].velocity, onsets[index], beat, coda, stop))
    return syllables


def read_aloud(phrase: list[Note], units: Units, rng: np.random.Generator) -> list[Syllable]:
    """Syllables as they were spoken, from the start of a phrase to its end."""
    at, end = round(phrase[0].start * FRAMES), round((phrase[-1].start + phrase[-1].duration) * FRAMES)
    velocity = float(np.mean([note.velocity for note in phrase]))
    syllables: list[Syllable] = []
    for unit in _following(units, max(1, (end - at) // 10), rng):
        onset, vowel, coda = np.diff(units.spans[unit])
        if syllables and at + onset + vowel + coda > end:
            break
        edges = np.minimum(at + np.cumsum([0, onset, vowel, coda]), end)
        syllables.append(Syllable(int(unit), velocity, *(int(edge) for edge in edges)))
        at = syllables[-1].stop
    return syllables


def _is_bound(before: Note, note: Note) -> bool:
    return note.start - before.start - before.duration < 0.03 and 0 < abs(note.pitch - before.pitch) <= 5


def _following(units: Units, count: int, rng: np.random.Generator) -> np.ndarray:
    """Units in the order in which they were spoken, from a place drawn; the first again after the last.

    The place is drawn as a share of all, so that two voices with one seed are at about the same place.
    """
    return (int(rng.uniform() * len(units)) + np.arange(count)) % len(units)
