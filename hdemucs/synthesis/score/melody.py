"""Melodies: phrases with rests, for voices and for leading instruments."""

from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.score.form import Form, Section
from hdemucs.synthesis.score.harmony import nearest
from hdemucs.synthesis.score.notes import Note

_RESTING = 0.06  # share of phrases that are left out
_Rhythm = list[tuple[int, int]]  # (step counted over the phrase, length in steps)


def sing_melody(
    form: Form, centre: float, rng: np.random.Generator, *, style: str = "sung", spread: float = 6.5
) -> list[Note]:
    """What the voice sings in a whole song: in verses lower and shorter notes, in choruses higher and longer.

    Args:
        form: the song's plan.
        centre: MIDI number in the middle of the singer's range.
        rng: draws motifs (one for each kind of section) and the singer's inexactness.
        style: `sung`, `rapped` or `spoken`: how dense the syllables are.
        spread: semitones to either side of the centre.
    """
    silent = {"intro", "solo", "outro"} - ({"outro"} if rng.random() < 0.4 else set())
    if rng.random() < 0.15:
        silent -= {"intro"}
    sections = [section for section in form.sections if section.kind not in silent]
    lines = (_line(form, section, centre, spread, style, rng) for section in sections)
    return [note for line in lines for note in line.notes()]


def lead_melody(form: Form, centre: float, entry: float, rng: np.random.Generator) -> list[Note]:
    """What an instrument plays where the voice rests: intros, solos, and answers at the ends of phrases."""
    notes: list[Note] = []
    answers = rng.random() < 0.6
    for section in form.sections:
        line = _line(form, section, centre, 9.0, "played", rng).notes()
        if section.kind in ("intro", "solo", "outro") or (section.kind == "bridge" and rng.random() < 0.5):
            notes += line
        elif answers and section.energy >= entry:
            late = [note for note in line if (note.start / form.grid.bar) % 4 >= 3]
            notes += late if rng.random() < 0.8 else []
    return notes


def _line(
    form: Form, section: Section, centre: float, spread: float, style: str, rng: np.random.Generator
) -> "_Line":
    """A line for a section; in choruses it lies higher."""
    shape = np.random.default_rng([round(centre * 10), section.number, form.key.tonic])
    return _Line(form, section, centre + 2.5 * (section.kind == "chorus"), spread, style, shape, rng)


@dataclass(frozen=True)
class _Line:
    """A melody through one section.

    Attributes:
        centre, spread: MIDI number in the middle of the range, and semitones to either side.
        shape: draws the motifs, which sections of one kind share.
        hand: draws all else.
    """

    form: Form
    section: Section
    centre: float
    spread: float
    style: str
    shape: np.random.Generator
    hand: np.random.Generator

    def notes(self) -> list[Note]:
        """Phrases of two or four bars; the second pair repeats the first one's rhythm, as songs do."""
        grid, bars = self.form.grid, self.section.bars
        size = 2 if grid.bar > 1.6 or len(bars) % 4 else 4
        motifs = [
            _rhythm(grid.steps * size, grid.step, self.style, self.section.energy, self.shape) for _ in "01"
        ]
        order = ["00", "01", "0001", "0010"][self.shape.integers(4)]
        pitch = self.centre + self.shape.uniform(-3, 3)
        notes: list[Note] = []
        for index, bar in enumerate(range(bars.start, bars.stop, size)):
            contour = self.shape.uniform(-1, 1)
            if self.hand.random() < _RESTING:
                continue
            rhythm = motifs[int(order[index % len(order)])]
            for place, (step, length) in enumerate(rhythm):
                pitch = self._next_pitch(bar, step, length, pitch, contour)
                bound = place + 1 < len(rhythm) and rhythm[place + 1][0] == step + length
                notes.append(self._note(bar, step, length, pitch, bound))
        return notes

    def _note(self, bar: int, step: int, length: int, pitch: float, bound: bool) -> Note:
        """A note of some steps; `bound` to the next, or with a little rest after it."""
        grid = self.form.grid
        start = max(0.0, grid.time(bar, step) + 0.012 * self.hand.standard_normal())
        held = 0.95 if bound else self.hand.uniform(0.8, 1.0)
        velocity = (
            0.5 + 0.3 * self.section.energy + 0.12 * grid.weight(step) + 0.06 * self.hand.standard_normal()
        )
        duration = max((grid.time(bar, step + length) - start) * held, 0.08)
        return Note(start, duration, pitch, float(np.clip(velocity, 0.2, 1)))

    def _next_pitch(self, bar: int, step: int, length: int, pitch: float, contour: float) -> float:
        """Mostly steps, some leaps, drawn back to the centre; long and strong notes belong to the chord."""
        grid, key, rng = self.form.grid, self.form.key, self.hand
        weight = grid.weight(step % grid.steps)
        if self.style in ("rapped", "spoken"):
            return self.centre - 3 + 2.2 * rng.standard_normal() + (2.0 if weight > 0.7 else 0.0)
        leap = rng.choice([0, 1, 2, 3, 5, 7], p=(0.2, 0.22, 0.33, 0.12, 0.09, 0.04))
        upward = rng.random() < 0.5 + 0.45 * (self.centre - pitch) / self.spread + 0.1 * contour
        wanted = np.clip(
            pitch + (leap if upward else -leap), self.centre - self.spread, self.centre + self.spread
        )
        strong = length * grid.step > 0.45 or weight >= 0.75
        if strong and rng.random() < 0.8:
            return float(nearest(float(wanted), self.section.chord(bar, step, grid.steps).pitches))
        return float(nearest(float(wanted), key.pitches if rng.random() < 0.6 else key.pentatonic))


def _rhythm(steps: int, step: float, style: str, energy: float, rng: np.random.Generator) -> _Rhythm:
    """Lengths that fill a phrase up to a breath at its end.

    Args:
        steps: in the phrase.
        step: seconds a step takes: syllables stay near speech's rate at any tempo.
        energy: of the section: loud sections hold longer notes.
    """
    if style == "rapped":
        seconds, breath, start = (0.14, 0.2, 0.3), rng.uniform(0.03, 0.15), 0
    elif style == "spoken":
        seconds, breath, start = (0.18, 0.25, 0.4), rng.uniform(0.2, 0.5), int(rng.integers(0, 5))
    else:
        slow = 1.4 if energy > 0.8 else 1.0
        seconds = (0.22 * slow, 0.38 * slow, 0.75 * slow)
        breath, start = rng.uniform(0.08, 0.35), int(rng.choice([0, 0, 2, 4, 6]))
    end = round(steps * (1 - breath))
    rhythm: _Rhythm = []
    place = start
    while place < end:
        wanted = rng.choice(seconds, p=(0.45, 0.38, 0.17)) * rng.uniform(0.8, 1.3) / step
        length = max(1, round(wanted))
        if length > 2 and place % 2 == 0:
            length = 2 * round(length / 2)
        length = min(length, steps - place)
        if rng.random() > 0.07 or style == "rapped":
            rhythm.append((place, length))
        place += length
    if rhythm and style not in ("rapped", "spoken"):
        last, length = rhythm[-1]
        rhythm[-1] = (last, min(length + int(rng.choice([0, 2, 4, 6])), steps - last))
    return rhythm
