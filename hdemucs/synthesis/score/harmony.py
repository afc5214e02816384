"""Musical keys, chords and chord progressions."""

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
"""Mode -> its scale, in semitones above the tonic."""

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
"""Chord quality, as written after the roman numeral -> semitones above the root."""

_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}

# One word per bar; '+' joins two chords in a bar. Degrees count in the major scale, so minor keys write bIII.
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
"""Families of chord progressions; a song uses those of its genre."""


@dataclass(frozen=True)
class Chord:
    """A chord.

    Attributes:
        root: Pitch class of the root, 0 for C.
        intervals: Its notes in semitones above the root.
        bass: Pitch class of the bass note.
    """

    root: int
    intervals: tuple[int, ...]
    bass: int

    @property
    def pitches(self) -> tuple[int, ...]:
        """Pitch classes of its notes."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)


@dataclass(frozen=True)
class MusicalKey:
    """A key, such as D dorian.

    Attributes:
        tonic: Pitch class of the tonic, 0 for C.
        mode: Name of its scale, a key of `SCALES`.
    """

    tonic: int
    mode: str

    @property
    def pitches(self) -> tuple[int, ...]:
        """Pitch classes of the scale."""
        return tuple((self.tonic + interval) % 12 for interval in SCALES[self.mode])

    @property
    def pentatonic(self) -> tuple[int, ...]:
        """Pitch classes of the pentatonic scale that riffs and leads use."""
        return tuple(
            (self.tonic + interval) % 12 for interval in PENTATONIC.get(self.mode, _MINOR_PENTATONIC)
        )


def parse_chord(word: str, key: MusicalKey) -> Chord:
    """Parse a roman numeral such as `IV`, `bVII`, `ii7`, `iim7b5` or `V/7` (over the scale's seventh degree).

    Args:
        word: Roman numeral.
        key: Key that it refers to.

    Raises:
        ValueError: `word` is not a roman numeral.
    """
    match = re.fullmatch(r"(b?)([ivIV]+)(.*?)(?:/(\d))?", word)
    if match is None:
        raise ValueError(f"{word!r} is not a roman numeral")
    flat, degree, quality, bass = match.groups()
    root = (key.tonic + _DEGREES[degree.lower()] - len(flat)) % 12
    if degree.islower() and quality != "5" and not quality.startswith(("m", "dim")):
        quality = f"m{quality}"
    return Chord(root, QUALITIES[quality], key.pitches[int(bass) - 1] if bass else root)


def is_minor(progression: str) -> bool:
    """Whether a progression of `PROGRESSIONS` is in a minor key."""
    return re.match(r"i(?![ivIV])|bVI ", progression) is not None


def parse_progression(text: str, key: MusicalKey) -> list[list[Chord]]:
    """Parse a progression of `PROGRESSIONS` into the chords of each bar."""
    return [[parse_chord(word, key) for word in bar.split("+")] for bar in text.split()]


def voice_chord(chord: Chord, previous: list[int] | None, low: int, size: int | None = None) -> list[int]:
    """Voice a chord in close position, with as little movement from the previous voicing as possible.

    Args:
        chord: Chord to voice.
        previous: Previous voicing as MIDI note numbers; None takes the lowest voicing.
        low: MIDI note number of the bottom of the register, which spans an octave and a half.
        size: Maximum number of notes; None keeps every note of the chord.

    Returns:
        MIDI note numbers, in ascending order.
    """
    classes = list(dict.fromkeys(chord.pitches))
    if size is not None and len(classes) > size:
        del classes[2 : 2 + len(classes) - size]  # the fifth is the first to go, then the notes above it
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
    """Sum of the distances from each note to the nearest previous one, in semitones."""
    return float(sum(min(abs(note - old) for old in previous) for note in notes))


def nearest_pitch(pitch: float, classes: tuple[int, ...]) -> int:
    """Return the MIDI note number nearest to `pitch` that belongs to one of the pitch classes."""
    return min(
        range(round(pitch) - 6, round(pitch) + 7), key=lambda n: (n % 12 not in classes, abs(n - pitch))
    )
