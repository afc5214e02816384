"""Bass lines: what the bass plays under the chords and with the kick drum."""

from collections.abc import Callable

import numpy as np

from hdemucs.synthesis.score.form import Form, Section
from hdemucs.synthesis.score.harmony import nearest_pitch
from hdemucs.synthesis.score.notes import Note

LOWEST = 28  # MIDI note number of the low E string
_BassNote = tuple[int, float, str]  # step in the bar, duration in steps, interval or rule that chooses it

_INTERVALS = {"root": 0, "octave": 12, "fifth": 7, "below": -5}


def play_bass(form: Form, style: str, rng: np.random.Generator) -> list[Note]:
    """Write the bass line of a song.

    Args:
        form: Plan of the song.
        style: Key of `STYLES`.
        rng: Random generator for the patterns, one per kind of section, and the player's imprecision.
    """
    seed = int(rng.integers(2**32))
    notes: list[Note] = []
    for section in form.sections:
        if section.energy < 0.2:
            continue
        pattern_rng = np.random.default_rng([seed, section.number])
        pattern = STYLES[style](section, form.grid.steps, form.grid.division, pattern_rng)
        for bar in section.bars:
            notes += _play_bar(form, section, bar, pattern, rng)
    return notes


def _play_bar(
    form: Form, section: Section, bar: int, pattern: list[_BassNote], rng: np.random.Generator
) -> list[Note]:
    """Play the pattern over the chords of a bar."""
    grid = form.grid
    notes = []
    for index, (step, length, interval) in enumerate(pattern):
        chord = section.chord(bar, step, grid.steps)
        root = LOWEST + (chord.bass - LOWEST) % 12
        last = index == len(pattern) - 1
        following = section.chord(bar + 1, 0, grid.steps)
        target = LOWEST + (following.bass - LOWEST) % 12
        if interval == "chord":
            pitch = root + int(rng.choice([i for i in chord.intervals if i < 12]))
        elif interval == "scale":
            pitch = nearest_pitch(root + int(rng.choice([2, 3, 5, 7, 9, 10])), form.key.pentatonic)
        elif interval == "approach":
            pitch = target + int(rng.choice([-1, 1, 2, -2]))
        elif interval == "next":
            pitch = target
        else:
            pitch = root + _INTERVALS[interval]
        if last and bar == section.bars[-1] and target != root and rng.random() < 0.3:
            pitch = target + int(rng.choice([-2, -1]))
        start = grid.time(bar, step) + 0.005 * rng.standard_normal()
        end = grid.time(bar, step + length)
        velocity = 0.55 + 0.25 * section.energy + 0.1 * grid.weight(step) + 0.04 * rng.standard_normal()
        notes.append(
            Note(
                max(start, 0.0),
                max(end - start, 0.05),
                _in_range(pitch),
                float(np.clip(velocity, 0.2, 1)),
            )
        )
    return notes


def _in_range(pitch: int) -> int:
    """Transpose a pitch by octaves into the two octaves above low E."""
    while pitch < LOWEST:
        pitch += 12
    while pitch > LOWEST + 24:
        pitch -= 12
    return pitch


def _legato(steps: list[int], bar: int, intervals: list[str], held: float) -> list[_BassNote]:
    """Notes that each last for a fraction `held` of the time until the next one."""
    ends = [*steps[1:], bar]
    return [(step, (end - step) * held, name) for step, end, name in zip(steps, ends, intervals, strict=True)]


def _roots(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = [[0], [0, bar // 2], [0, bar - beat]][rng.integers(3)]
    return _legato(steps, bar, ["root"] * len(steps), float(rng.uniform(0.7, 1.0)))


def _kick(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = section.groove.kick or [0]
    names = ["root" if rng.random() < 0.85 else str(rng.choice(["fifth", "octave"])) for _ in steps]
    return _legato(steps, bar, names, float(rng.uniform(0.5, 1.0)))


def _eighths(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = list(range(0, bar, 2 if beat == 4 else 1))
    return _legato(steps, bar, ["root"] * len(steps), float(rng.uniform(0.6, 0.95)))


def _octaves(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = list(range(0, bar, 2 if beat == 4 else 1))
    return _legato(
        steps, bar, ["root" if i % 2 == 0 else "octave" for i in range(len(steps))], rng.uniform(0.5, 0.9)
    )


def _offbeat(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = list(range(beat // 2, bar, beat))
    if rng.random() < 0.4:
        steps = sorted({*steps, *range(beat - 1, bar, beat)})
    return [(step, float(rng.uniform(0.8, 1.8)), "root") for step in steps]


def _walking(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = list(range(0, bar, beat))
    names = ["root", *["chord"] * (len(steps) - 2), "approach"]
    return _legato(steps, bar, names, 0.92)


def _walking_eighths(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = list(range(0, bar, beat // 2))
    names = ["root" if i == 0 else "approach" if i == len(steps) - 1 else "chord" for i in range(len(steps))]
    return _legato(steps, bar, names, 0.8)


def _two(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    if bar // beat == 3:
        return [(0, beat * 0.9, "root")]
    steps, names = [0, bar // 2], ["root", str(rng.choice(["fifth", "below"]))]
    if rng.random() < 0.3:
        steps, names = [*steps, bar - beat // 2], [*names, "approach"]
    return _legato(steps, bar, names, float(rng.uniform(0.5, 0.9)))


def _melodic(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    added = rng.choice(range(2, bar, 2), size=min(3, bar // 4), replace=False)
    steps = sorted({0, *section.groove.kick[:3], *map(int, added)})
    names = ["root", *(str(rng.choice(["root", "fifth", "octave", "scale", "chord"])) for _ in steps[1:])]
    return _legato(steps, bar, names, float(rng.uniform(0.6, 0.95)))


def _funk(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    chances = [0.25 if step % 2 else 0.45 for step in range(bar)]
    steps = sorted({0, *section.groove.kick, *(s for s in range(1, bar) if rng.random() < chances[s] * 0.6)})
    names = ["root", *(str(rng.choice(["root", "root", "octave", "scale", "fifth"])) for _ in steps[1:])]
    return [
        (step, min(length, rng.uniform(0.5, 2.2)), name)
        for step, length, name in _legato(steps, bar, names, 0.9)
    ]


def _reggae(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    patterns = [[2, 4, 6, 10, 12], [0, 3, 6, 8], [4, 6, 8, 10, 14], [0, 6, 8, 10], [0, 2, 4, 10, 12]]
    steps = [step for step in patterns[rng.integers(len(patterns))] if step < bar]
    names = [str(rng.choice(["root", "root", "chord", "fifth", "scale"])) for _ in steps]
    return _legato(steps, bar, names, 0.7)


def _tumbao(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    return [(beat + beat // 2, beat * 1.4, "fifth"), (bar - beat, beat * 1.4, "next")]


def _reese(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    return (
        _legato([0], bar, ["root"], 1.0)
        if rng.random() < 0.5
        else _legato([0, bar - 6], bar, ["root", "octave"], 0.95)
    )


def _shuffle(section: Section, bar: int, beat: int, rng: np.random.Generator) -> list[_BassNote]:
    steps = sorted({*range(0, bar, 3), *range(2, bar, 3)})
    contour = ["root", "root", "fifth", "fifth", "octave", "octave", "fifth", "fifth"]
    return _legato(steps, bar, [contour[i % 8] for i in range(len(steps))], 0.75)


STYLES: dict[str, Callable[[Section, int, int, np.random.Generator], list[_BassNote]]] = {
    "roots": _roots,
    "kick": _kick,
    "eighths": _eighths,
    "octaves": _octaves,
    "offbeat": _offbeat,
    "walking": _walking,
    "walking eighths": _walking_eighths,
    "two": _two,
    "melodic": _melodic,
    "funk": _funk,
    "reggae": _reggae,
    "tumbao": _tumbao,
    "reese": _reese,
    "shuffle": _shuffle,
}
"""Bass style -> function that draws a bar's pattern from section, steps per bar, steps per beat and rng."""
