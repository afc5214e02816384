"""Song form: sections with their energy, chords and drum groove."""

from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.score.genres import Genre
from hdemucs.synthesis.score.grooves import Groove, make_groove
from hdemucs.synthesis.score.harmony import PROGRESSIONS, Chord, MusicalKey, is_minor, parse_progression
from hdemucs.synthesis.score.timing import Grid

# Sections, each a letter of `_KINDS` followed by the number of bars.
_FORMS = (
    "I4 V8 C8 V8 C8 B4 C8 O4",
    "I4 V8 P4 C8 V8 P4 C8 S8 C8 O4",
    "I2 V8 V8 C8 V8 C8 S8 C8 C8",
    "C4 V8 C8 V8 C8 B8 C8 O2",
    "I8 V8 P4 C8 D4 V8 P4 C8 D4 C8 O4",
    "V8 C8 V8 C8 B8 C8 O4",
    "I4 V16 C8 V8 C8 D4 C8",
)
_KINDS = {
    "I": ("intro", 0.35),
    "V": ("verse", 0.55),
    "P": ("pre-chorus", 0.7),
    "C": ("chorus", 0.95),
    "B": ("bridge", 0.5),
    "S": ("solo", 0.8),
    "D": ("breakdown", 0.25),
    "O": ("outro", 0.5),
}


@dataclass(frozen=True)
class Section:
    """A section of a song.

    Attributes:
        kind: `verse`, `chorus` and so on; sections of the same kind share chords and patterns.
        bars: Its bars, counted from the start of the song.
        energy: Intensity from 0 to 1, which determines who plays and how hard.
        chords: Chords of each bar, evenly spaced; repeated if the section has more bars.
        groove: Drum groove.
    """

    kind: str
    bars: range
    energy: float
    chords: tuple[tuple[Chord, ...], ...]
    groove: Groove

    @property
    def number(self) -> int:
        """Seed for the patterns of the section, equal for all sections of the same kind."""
        return sum(map(ord, self.kind))

    def chord(self, bar: int, step: float, steps: int) -> Chord:
        """Return the chord at a step in a bar; both may lie beyond the end, where the chords repeat."""
        bar += int(step // steps)
        chords = self.chords[(bar - self.bars.start) % len(self.chords)]
        return chords[int(step % steps * len(chords) // steps)]


@dataclass(frozen=True)
class Form:
    """The plan of a song, shared by all musicians.

    Attributes:
        genre: Genre of the song.
        grid: Metre and tempo.
        key: Key of the song.
        sections: Sections, from beginning to end.
    """

    genre: Genre
    grid: Grid
    key: MusicalKey
    sections: tuple[Section, ...]


def make_form(genre: Genre, rng: np.random.Generator) -> Form:
    """Draw tempo, key and sections for a song of a genre."""
    grid = Grid(
        tempo=float(rng.uniform(*genre.tempo)),
        beats=genre.beats,
        division=genre.division,
        swing=float(rng.uniform(*genre.swing)),
        swung=genre.swung,
    )
    lines = [line for family in genre.progressions for line in PROGRESSIONS[family]]
    rng.shuffle(lines)
    minor = is_minor(lines[0])
    lines = [line for line in lines if is_minor(line) == minor]
    mode = str(
        rng.choice(["minor", "minor", "dorian", "harmonic"] if minor else ["major", "major", "mixolydian"])
    )
    key = MusicalKey(int(rng.integers(12)), mode)
    # All grooves are drawn, although only the first two are played: the songs of existing seeds depend on it.
    grooves = [make_groove(name, grid.steps, rng) for name in genre.grooves]
    sections: list[Section] = []
    bar = 0
    for word in str(rng.choice(_FORMS)).split():
        kind, energy = _KINDS[word[0]]
        known = next((section for section in sections if section.kind == kind), None)
        line = (
            lines[len({section.kind for section in sections}) % len(lines)]
            if rng.random() < 0.7
            else lines[0]
        )
        sections.append(
            Section(
                kind,
                range(bar, bar + int(word[1:])),
                float(np.clip(energy + rng.uniform(-0.1, 0.1), 0.1, 1.0)),
                known.chords if known else tuple(map(tuple, parse_progression(line, key))),
                known.groove if known else _groove(grooves, energy, rng),
            )
        )
        bar += int(word[1:])
    return Form(genre, grid, key, tuple(sections))


def _groove(grooves: list[Groove], energy: float, rng: np.random.Generator) -> Groove:
    """Draw a groove: most sections play the first one, loud ones often the second."""
    if energy > 0.7 or rng.random() < 0.25:
        return grooves[rng.integers(min(2, len(grooves)))]
    return grooves[0]
