"""Melodies: phrases with rests, for singers and for lead instruments."""

from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.score.form import Form, Section
from hdemucs.synthesis.score.harmony import nearest_pitch
from hdemucs.synthesis.score.notes import Note

_VOCAL_SPREAD, _LEAD_SPREAD = 6.5, 9.0  # semitones to either side of the centre
_REST_CHANCE = 0.06  # probability that a whole phrase is left out
_Rhythm = list[tuple[int, int]]  # step counted from the start of the phrase, duration in steps


def sing_melody(form: Form, centre: float, rng: np.random.Generator, *, style: str = "sung") -> list[Note]:
    """Write the vocal melody of a song: lower, shorter notes in verses; higher, longer ones in choruses.

    Args:
        form: Plan of the song.
        centre: MIDI note number of the middle of the singer's range.
        rng: Random generator for the motifs, shared by sections of a kind, and the singer's imprecision.
        style: `sung`, `rapped` or `spoken`, which determines the density of syllables.
    """
    silent = {"intro", "solo", "outro"} - ({"outro"} if rng.random() < 0.4 else set())
    if rng.random() < 0.15:
        silent -= {"intro"}
    sections = [section for section in form.sections if section.kind not in silent]
    lines = (_line(form, section, centre, _VOCAL_SPREAD, style, rng) for section in sections)
    return [note for line in lines for note in line.notes()]


def lead_melody(form: Form, centre: float, entry: float, rng: np.random.Generator) -> list[Note]:
    """Write a lead instrument's melody for the places where the voice rests: intros, solos and fills.

    Args:
        form: Plan of the song.
        centre: MIDI note number of the middle of the instrument's range.
        entry: Lowest section energy at which it fills in between sung phrases.
        rng: Random generator for the melody.
    """
    notes: list[Note] = []
    answers = rng.random() < 0.6
    for section in form.sections:
        line = _line(form, section, centre, _LEAD_SPREAD, "played", rng).notes()
        if section.kind in ("intro", "solo", "outro") or (section.kind == "bridge" and rng.random() < 0.5):
            notes += line
        elif answers and section.energy >= entry:
            late = [note for note in line if (note.start / form.grid.bar) % 4 >= 3]
            notes += late if rng.random() < 0.8 else []
    return notes


def solo_melody(form: Form, centre: float, rng: np.random.Generator) -> list[Note]:
    """Write a soloist's melody through the full song; arguments as for `lead_melody`."""
    lines = (_line(form, section, centre, _LEAD_SPREAD, "played", rng) for section in form.sections)
    return [note for line in lines for note in line.notes()]


def _line(
    form: Form, section: Section, centre: float, spread: float, style: str, rng: np.random.Generator
) -> "_MelodicLine":
    """Set up the melody of a section; choruses are higher."""
    motif_rng = np.random.default_rng([round(centre * 10), section.number, form.key.tonic])
    return _MelodicLine(
        form, section, centre + 2.5 * (section.kind == "chorus"), spread, style, motif_rng, rng
    )


@dataclass(frozen=True)
class _MelodicLine:
    """The melody of one section.

    Attributes:
        form: Plan of the song.
        section: Section in which the melody is heard.
        centre: MIDI note number of the middle of the range.
        spread: Semitones to either side of the centre.
        style: `sung`, `rapped`, `spoken` or `played`.
        motif_rng: Random generator for the motifs, which are the same in all sections of a kind.
        rng: Random generator for everything else.
    """

    form: Form
    section: Section
    centre: float
    spread: float
    style: str
    motif_rng: np.random.Generator
    rng: np.random.Generator

    def notes(self) -> list[Note]:
        """Write phrases of two or four bars from two rhythmic motifs that recur, as in real songs."""
        grid, bars = self.form.grid, self.section.bars
        size = 2 if grid.bar > 1.6 or len(bars) % 4 else 4
        motifs = [
            _rhythm(grid.steps * size, grid.step, self.style, self.section.energy, self.motif_rng)
            for _ in "01"
        ]
        order = ["00", "01", "0001", "0010"][self.motif_rng.integers(4)]
        pitch = self.centre + self.motif_rng.uniform(-3, 3)
        notes: list[Note] = []
        for index, bar in enumerate(range(bars.start, bars.stop, size)):
            contour = self.motif_rng.uniform(-1, 1)
            if self.rng.random() < _REST_CHANCE:
                continue
            rhythm = motifs[int(order[index % len(order)])]
            for place, (step, length) in enumerate(rhythm):
                pitch = self._next_pitch(bar, step, length, pitch, contour)
                legato = place + 1 < len(rhythm) and rhythm[place + 1][0] == step + length
                notes.append(self._note(bar, step, length, pitch, legato))
        return notes

    def _note(self, bar: int, step: int, length: int, pitch: float, legato: bool) -> Note:
        """Create a note with a singer's imprecision; `legato` connects it to the next one."""
        grid = self.form.grid
        start = max(0.0, grid.time(bar, step) + 0.012 * self.rng.standard_normal())
        held = 0.95 if legato else self.rng.uniform(0.8, 1.0)
        velocity = (
            0.5 + 0.3 * self.section.energy + 0.12 * grid.weight(step) + 0.06 * self.rng.standard_normal()
        )
        duration = max((grid.time(bar, step + length) - start) * held, 0.08)
        return Note(start, duration, pitch, float(np.clip(velocity, 0.2, 1)))

    def _next_pitch(self, bar: int, step: int, length: int, pitch: float, contour: float) -> float:
        """Move mostly stepwise, drawn back to the centre; long and accented notes belong to the chord."""
        grid, key, rng = self.form.grid, self.form.key, self.rng
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
            return float(nearest_pitch(float(wanted), self.section.chord(bar, step, grid.steps).pitches))
        return float(nearest_pitch(float(wanted), key.pitches if rng.random() < 0.6 else key.pentatonic))


def _rhythm(steps: int, step: float, style: str, energy: float, rng: np.random.Generator) -> _Rhythm:
    """Draw the rhythm of a phrase, with room for a breath at its end.

    Args:
        steps: Steps in the phrase.
        step: Duration of a step in seconds, so that syllables keep the pace of speech at any tempo.
        style: Style as in `_MelodicLine`.
        energy: Energy of the section; loud sections have longer notes.
        rng: Random generator for the rhythm.
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
