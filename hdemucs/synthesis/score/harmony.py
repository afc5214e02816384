"""Keys, chords and progressions."""

import re
from dataclasses import dataclass

import numpy as np

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
}
"""Semitones above the tonic."""

PENTATONIC = {"major": (0, 2, 4, 7, 9), "mixolydian": (0, 2, 4, 7, 9)}
_MINOR_PENTATONIC = (0, 3, 5, 7, 10)

QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "maj9": (0, 4, 7, 11, 14),
    "m9": (0, 3, 7, 10, 14),
    "9": (0, 4, 7, 10, 14),
    "13": (0, 4, 7, 10, 21),
    "add9": (0, 4, 7, 14),
    "madd9": (0, 3, 7, 14),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "dim": (0, 3, 6),
    "m7b5": (0, 3, 6, 10),
    "aug": (0, 4, 8),
}
"""Intervals of chords, in semitones above the root."""

_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}

# A bar a word, two chords in a bar joined by '+'. Degrees are the major scale's, so minor keys write bIII.
PROGRESSIONS: dict[str, tuple[str, ...]] = {
    "pop": (
        "I V vi IV",
        "vi IV I V",
        "I vi IV V",
        "IV I V vi",
        "I IV vi V",
        "I iii IV V",
        "IV V iii vi",
        "I Iadd9 IVadd9 V",
        "vi V IV V",
        "I V/7 vi IV",
    ),
    "minor": (
        "i bVI bIII bVII",
        "i bVII bVI bVII",
        "i iv bVI v",
        "i bIII bVII iv",
        "i bVI iv V",
        "i i bVI bVII",
        "bVI bVII i i",
        "i v bVI iv",
    ),
    "rock": (
        "I bVII IV I",
        "I IV V IV",
        "I IV I V",
        "I V IV IV",
        "I bIII IV I",
        "I I bVII IV",
        "vi IV V V",
    ),
    "power": (
        "i5 bVI5 bVII5 i5",
        "i5 i5 bIII5 bVII5",
        "i5 bII5 i5 bVII5",
        "i5 bVI5 bIII5 bVII5",
        "i5 iv5 bVI5 v5",
    ),
    "blues": ("I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 I7"),
    "soul": (
        "Imaj7 vi7 ii7 V7",
        "ii7 V7 Imaj7 Imaj7",
        "Imaj7 iii7 IVmaj7 V7",
        "IVmaj7 iii7 ii7 Imaj7",
        "vi9 ii9 V13 Imaj9",
        "IVmaj7 V7 iii7 vi7",
    ),
    "funk": ("i7 i7 i7 i7", "i7 IV9 i7 IV9", "I9 I9 I9 I9", "i7 i7 iv7 i7", "i9 i9 bVII13 bVI13"),
    "jazz": (
        "ii7 V7 Imaj7 vi7",
        "Imaj7 vi7 ii7 V7",
        "ii7 V7 Imaj7 Imaj7 im7b5 IV7 bVIImaj7 bVIImaj7",
        "iii7 vi7 ii7 V7",
        "Imaj7+I6 ii7+V7 iii7+vi7 ii7+V7",
        "i6 iim7b5+V7 i6 i6",
    ),
    "house": (
        "i7 bVImaj7 iv7 bVII",
        "i9 i9 iv9 iv9",
        "i7 v7 bVImaj7 iv7",
        "vi7 IVmaj7 Imaj7 V",
        "i bVI bVII iv",
    ),
    "reggae": ("I IV I IV", "I I V IV", "i iv i V", "vi ii V I", "i bVII i bVII", "I V vi IV"),
    "country": ("I I IV I", "I IV I V", "I V I IV", "I I V V IV IV I I", "vi IV I V", "I V/7 vi IV"),
    "latin": ("i iv V i", "ii7 V7 Imaj7 vi7", "I IV V IV", "i bVII bVI V", "i V i V", "I vi ii V"),
    "loop": (
        "i7 i7 bVImaj7 bVII",
        "i9 iv9 i9 iv9",
        "i i iv i",
        "i bVI i bVI",
        "Imaj7 IVmaj7 Imaj7 IVmaj7",
        "i i i i",
    ),
    "ballad": (
        "I V/7 vi IV",
        "I iii vi IV",
        "vi IV I V",
        "I I/7 vi7 IV",
        "Iadd9 vi7 IVadd9 Vsus4+V",
        "i bVII/2 bVI V",
        "I IV/1 V/7 I",
    ),
}
"""Families of progressions; a song takes several of one or two families."""


@dataclass(frozen=True)
class Chord:
    """Root and bass as pitch classes, the other notes as intervals above the root."""

    root: int
    intervals: tuple[int, ...]
    bass: int

    @property
    def pitches(self) -> tuple[int, ...]:
        """Pitch classes."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class) and the name of its scale in `SCALES`."""

    tonic: int
    mode: str

    @property
    def pitches(self) -> tuple[int, ...]:
        """Pitch classes of the scale."""
        return tuple((self.tonic + interval) % 12 for interval in SCALES[self.mode])

    @property
    def pentatonic(self) -> tuple[int, ...]:
        """Pitch classes of the pentatonic that riffs and leads are made of."""
        return tuple(
            (self.tonic + interval) % 12 for interval in PENTATONIC.get(self.mode, _MINOR_PENTATONIC)
        )


def parse_chord(word: str, key: Key) -> Chord:
    """A roman numeral to a chord: `IV`, `bVII`, `ii7`, `iim7b5`, `V/7` (with the scale's seventh as bass)."""
    match = re.fullmatch(r"(b?)([ivIV]+)(.*?)(?:/(\d))?", word)
    if match is None:
        raise ValueError(f"{word!r} is no roman numeral")
    flat, degree, quality, bass = match.groups()
    root = (key.tonic + _DEGREES[degree.lower()] - len(flat)) % 12
    if degree.islower() and quality != "5" and not quality.startswith(("m", "dim")):
        quality = f"m{quality}"
    return Chord(root, QUALITIES[quality], key.pitches[int(bass) - 1] if bass else root)


def is_minor(progression: str) -> bool:
    """Is a line of `PROGRESSIONS` in a minor key?"""
    return re.match(r"i(?![ivIV])|bVI ", progression) is not None


def parse_progression(text: str, key: Key) -> list[list[Chord]]:
    """A line of `PROGRESSIONS` to bars of chords."""
    return [[parse_chord(word, key) for word in bar.split("+")] for bar in text.split()]


def voice(chord: Chord, previous: list[int] | None, low: int, size: int | None = None) -> list[int]:
    """A chord as MIDI numbers in close position, moving as little as can be from the voicing before.

    Args:
        chord: what is played.
        previous: voicing before; None takes the lowest.
        low: MIDI number of the lowest note of the register, which is an octave and a half high.
        size: voices; None takes every note of the chord.
    """
    classes = list(dict.fromkeys(chord.pitches))
    if size is not None and len(classes) > size:
        del classes[2 : 2 + len(classes) - size]  # the fifth goes first, then what is above it
    voicings = []
    for start in range(low, low + 12):
        if start % 12 in classes:
            order = sorted(classes, key=lambda pitch: (pitch - start) % 12)
            voicings.append([start + (pitch - start) % 12 for pitch in order])
    if previous is None:
        return voicings[0]
    return min(
        voicings,
        key=lambda notes: abs(np.mean(notes) - np.mean(previous)) * len(notes) + _leap(notes, previous),
    )


def _leap(notes: list[int], previous: list[int]) -> float:
    return float(sum(min(abs(note - old) for old in previous) for note in notes))


def nearest(pitch: float, classes: tuple[int, ...]) -> int:
    """The MIDI number nearest to `pitch` that belongs to some pitch classes."""
    return min(
        range(round(pitch) - 6, round(pitch) + 7), key=lambda n: (n % 12 not in classes, abs(n - pitch))
    )
