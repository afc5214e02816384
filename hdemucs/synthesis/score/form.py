"""The form of a song: sections, their energy, and the chords under each bar."""

from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.score.genres import Genre
from hdemucs.synthesis.score.grooves import Groove, make_groove
from hdemucs.synthesis.score.harmony import PROGRESSIONS, Chord, Key, is_minor, parse_progression
from hdemucs.synthesis.score.timing import Grid

# I intro, V verse, P pre-chorus, C chorus, B bridge, S solo, D breakdown, O outro; bars follow.
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
    """A part of the form.

    Attributes:
        kind: `verse`, `chorus`, …; sections of one kind share chords and patterns.
        bars: counted from the start of the song.
        energy: 0 to 1, says who plays and how hard.
        chords: of each bar, spread evenly over it.
        groove: of the drums.
    """

    kind: str
    bars: range
    energy: float
    chords: tuple[tuple[Chord, ...], ...]
    groove: Groove

    @property
    def number(self) -> int:
        """The same for sections of one kind: they are seeded with it, so that they play the same patterns."""
        return sum(map(ord, self.kind))

    def chord(self, bar: int, step: float, steps: int) -> Chord:
        """The chord at a step of a bar (both counted on beyond their ends)."""
        bar += int(step // steps)
        chords = self.chords[(bar - self.bars.start) % len(self.chords)]
        return chords[int(step % steps * len(chords) // steps)]


@dataclass(frozen=True)
class Form:
    """A song's plan: what every player knows."""

    genre: Genre
    grid: Grid
    key: Key
    sections: tuple[Section, ...]


def make_form(genre: Genre, rng: np.random.Generator) -> Form:
    """A form for a style: tempo, key, sections with chords and grooves."""
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
    key = Key(int(rng.integers(12)), mode)
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
    """Most sections play the song's first groove, loud ones often another."""
    if energy > 0.7 or rng.random() < 0.25:
        return grooves[rng.integers(min(2, len(grooves)))]
    return grooves[0]
