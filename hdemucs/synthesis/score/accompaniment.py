"""Accompaniment: how guitars, keyboards, strings, horns and synthesisers play the chords of a song."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.score.form import Form, Section
from hdemucs.synthesis.score.genres import Layer
from hdemucs.synthesis.score.harmony import nearest_pitch, voice_chord
from hdemucs.synthesis.score.melody import lead_melody
from hdemucs.synthesis.score.notes import Note


@dataclass(frozen=True)
class Accompanist:
    """A musician who plays one part in one section.

    Attributes:
        form: Plan of the song.
        section: Section to play.
        low: MIDI note number of the bottom of the register.
        pattern_rng: Random generator for the pattern, which is the same in all sections of a kind.
        feel_rng: Random generator for the small deviations that make every note different.
    """

    form: Form
    section: Section
    low: int
    pattern_rng: np.random.Generator
    feel_rng: np.random.Generator

    @property
    def steps(self) -> int:
        """Steps per bar."""
        return self.form.grid.steps

    @property
    def half(self) -> int:
        """Steps in half a beat, rounded down: an eighth note, or a triplet."""
        return max(1, self.form.grid.division // 2)

    def note(
        self, bar: int, step: float, length: float, pitch: float, level: float, delay: float = 0.0
    ) -> Note:
        """Create a note with a player's imprecision in time and loudness.

        Args:
            bar: Bar, counted from the start of the song.
            step: Step in the bar.
            length: Duration in steps.
            pitch: MIDI note number.
            level: Loudness from 0 to 1, before the section's energy is taken into account.
            delay: Delay of the note in seconds.
        """
        grid = self.form.grid
        start = max(0.0, grid.time(bar, step) + delay + 0.006 * self.feel_rng.standard_normal())
        end = grid.time(bar, step + length) + delay
        velocity = level * (0.65 + 0.35 * self.section.energy) + 0.05 * self.feel_rng.standard_normal()
        return Note(start, max(end - start, 0.04), pitch, float(np.clip(velocity, 0.1, 1)))

    def voicings(self, size: int | None = None) -> dict[int, list[list[int]]]:
        """Voice the chords of every bar, with smooth voice leading.

        Args:
            size: Maximum number of notes in a chord; None for no limit.

        Returns:
            For each bar, its chords as MIDI note numbers in ascending order.
        """
        led: dict[int, list[list[int]]] = {}
        last: list[int] | None = None
        for bar in self.section.bars:
            led[bar] = []
            for chord in self.section.chords[(bar - self.section.bars.start) % len(self.section.chords)]:
                last = voice_chord(chord, last, self.low, size)
                led[bar].append(last)
        return led

    def root(self, bar: int, step: float) -> int:
        """Return the bass note of the chord at a step, for the left hand: MIDI note number 33 to 44."""
        return 33 + (self.section.chord(bar, step, self.steps).bass - 33) % 12

    def chord_at(self, led: list[list[int]], step: float) -> list[int]:
        """Return the chord at a step, given the voiced chords of its bar from `voicings`."""
        return led[min(int(step * len(led) // self.steps), len(led) - 1)]


def play_layer(form: Form, layer: Layer, low: int, rng: np.random.Generator) -> list[Note]:
    """Write one part of the accompaniment of a song.

    Args:
        form: Plan of the song.
        layer: Role of the part, and the lowest energy at which it plays.
        low: MIDI note number of the bottom of the register.
        rng: Random generator for the patterns and the player's imprecision.
    """
    if layer.role == "lead":
        return lead_melody(form, low + 12, layer.entry, rng)
    seed = int(rng.integers(2**32))
    notes: list[Note] = []
    for section in form.sections:
        if section.energy + 0.1 * rng.standard_normal() < layer.entry:
            continue
        pattern_rng = np.random.default_rng([seed, section.number])
        notes += ROLES[layer.role](Accompanist(form, section, low, pattern_rng, rng))
    return notes


def _pad(player: Accompanist) -> list[Note]:
    """Sustained chords, sometimes with the bass note."""
    with_bass = player.pattern_rng.random() < 0.4
    notes = []
    for bar, led in player.voicings().items():
        length = player.steps / len(led)
        for index, chord in enumerate(led):
            pitches = [player.root(bar, index * length), *chord] if with_bass else chord
            notes += [player.note(bar, index * length, length * 1.02, pitch, 0.6) for pitch in pitches]
    return notes


def _comp(player: Accompanist) -> list[Note]:
    """Comping: chords in a rhythm drawn for the song, sometimes with the left hand on the downbeat."""
    steps, beat = player.steps, player.form.grid.division
    if player.pattern_rng.random() < 0.35:
        rhythm = list(range(0, steps, beat))
    else:
        count = int(player.pattern_rng.integers(2, 6))
        weights = np.array([player.form.grid.weight(step) for step in range(steps)])
        drawn = player.pattern_rng.choice(steps, min(count, steps), replace=False, p=weights / weights.sum())
        rhythm = sorted({0, *(int(step) for step in drawn)})
    held = player.pattern_rng.uniform(0.4, 1.0)
    bass = player.pattern_rng.random() < 0.5
    notes = []
    for bar, led in player.voicings().items():
        for step, end in zip(rhythm, [*rhythm[1:], steps], strict=True):
            chord = player.chord_at(led, step)
            level = 0.6 + 0.2 * player.form.grid.weight(step)
            notes += [player.note(bar, step, (end - step) * held, pitch, level) for pitch in chord]
        if bass:
            notes += [
                player.note(bar, 0, steps * 0.9, player.root(bar, 0) + octave, 0.6) for octave in (0, 12)
            ]
    return notes


_STRUMS = (
    "d...d.u...u.d.u.",
    "d...d...d...d.du",
    "d..ud.u.d..ud.u.",
    "d.d.d.d.d.d.d.d.",
    "d...d.u.d...d.u.",
    "d...............",
)


def _strum(player: Accompanist) -> list[Note]:
    """Strummed down- and upstrokes, string after string."""
    pattern = _STRUMS[player.pattern_rng.integers(len(_STRUMS))]
    notes = []
    for bar, led in player.voicings().items():
        strokes = [step for step in range(player.steps) if pattern[step % 16] != "."]
        for step, end in zip(strokes, [*strokes[1:], player.steps], strict=True):
            chord = player.chord_at(led, step)
            strings = sorted({*chord, *(pitch + 12 for pitch in chord[:2]), chord[-1] - 12})
            down = pattern[step % 16] == "d"
            spread = player.feel_rng.uniform(0.006, 0.016)
            for index, pitch in enumerate(strings if down else strings[:1:-1]):
                level = (0.75 if down else 0.55) + 0.15 * player.form.grid.weight(step)
                notes.append(player.note(bar, step, end - step, pitch, level, index * spread))
    return notes


def _pick(player: Accompanist) -> list[Note]:
    """Fingerpicking: the thumb on the beats, the fingers in between."""
    steps, half = player.steps, player.half
    order = player.pattern_rng.permutation([1, 2, 3, 2, 3, 1, 2, 3])
    notes = []
    for bar, led in player.voicings().items():
        for index, step in enumerate(range(0, steps, half)):
            chord = player.chord_at(led, step)
            strings = [chord[0] - 12, *chord, chord[0] + 12]
            thumb = step % player.form.grid.division == 0
            place = (0 if index % 4 == 0 else 1) if thumb else int(order[index % 8])
            notes.append(
                player.note(bar, step, half * 3, strings[place % len(strings)], 0.7 if thumb else 0.55)
            )
    return notes


def _arp(player: Accompanist) -> list[Note]:
    """Arpeggios: up, down, up and down, or skipping."""
    steps = player.steps
    pace = int(player.pattern_rng.choice([1, player.half, player.half]))
    direction = int(player.pattern_rng.integers(4))
    held = player.pattern_rng.uniform(0.5, 2.0)
    octaves = int(player.pattern_rng.integers(1, 3))
    notes = []
    for bar, led in player.voicings().items():
        for index, step in enumerate(range(0, steps, pace)):
            ladder = [
                pitch + 12 * octave for octave in range(octaves) for pitch in player.chord_at(led, step)
            ]
            if direction == 1:
                ladder = ladder[::-1]
            elif direction == 2:
                ladder = ladder + ladder[-2:0:-1]
            place = (index * 3 if direction == 3 else index) % len(ladder)
            level = 0.55 + 0.2 * player.form.grid.weight(step)
            notes.append(player.note(bar, step, pace * held, ladder[place], level))
    return notes


def _power(player: Accompanist) -> list[Note]:
    """Power chords: sustained, with the kick drum, in eighths, or palm-muted between accents."""
    steps = player.steps
    style = int(player.pattern_rng.integers(4))
    pace = player.half
    if style == 0:
        rhythm = [0]
    elif style == 1:
        rhythm = player.section.groove.kick or [0]
    else:
        rhythm = list(range(0, steps, pace))
    accents = {0, *(int(step) for step in player.pattern_rng.choice(steps, 3, replace=False))}
    notes = []
    for bar in player.section.bars:
        for step, end in zip(rhythm, [*rhythm[1:], steps], strict=True):
            root = player.section.chord(bar, step, steps).root
            base = player.low + (root - player.low) % 12
            muted = style == 3 and step not in accents
            length = 0.45 * pace if muted else (end - step) * 0.98
            pitches = (base,) if muted else (base, base + 7, base + 12)
            notes += [player.note(bar, step, length, pitch, 0.65 if muted else 0.9) for pitch in pitches]
    return notes


def _riff(player: Accompanist) -> list[Note]:
    """A pentatonic riff of one or two bars, which may follow the roots of the chords."""
    steps = player.steps
    length = steps * int(player.pattern_rng.integers(1, 3))
    follows = player.pattern_rng.random() < 0.4
    doubled = player.pattern_rng.random() < 0.25
    riff = []
    place, pitch = 0, float(player.low)
    while place < length:
        duration = int(player.pattern_rng.choice([1, 2, 2, 3, 4, 6]))
        if player.pattern_rng.random() < 0.8:
            pitch = float(np.clip(pitch + player.pattern_rng.integers(-4, 5), player.low, player.low + 14))
            riff.append((place, min(duration, length - place), pitch))
        place += duration
    notes = []
    for index, bar in enumerate(player.section.bars):
        for place, duration, pitch in riff:
            if place // steps != index % (length // steps):
                continue
            chord = player.section.chord(bar, place % steps, steps)
            offset = (chord.root - player.form.key.tonic + 5) % 12 - 5 if follows else 0
            played = nearest_pitch(pitch + offset, player.form.key.pentatonic)
            notes.append(player.note(bar, place % steps, duration * 0.95, played, 0.8))
            if doubled:
                notes.append(player.note(bar, place % steps, duration * 0.95, played + 12, 0.7))
    return notes


def _stab(player: Accompanist) -> list[Note]:
    """Stabs: short chords off the downbeat, in every bar, every second or every fourth."""
    steps = player.steps
    rhythm = sorted(int(step) for step in player.pattern_rng.choice(range(1, steps), 3, replace=False))
    every = int(player.pattern_rng.choice([1, 2, 2, 4]))
    held = player.pattern_rng.uniform(0.6, 2.5)
    notes = []
    for index, (bar, led) in enumerate(player.voicings().items()):
        if index % every == every - 1:
            for step in rhythm:
                notes += [player.note(bar, step, held, pitch, 0.85) for pitch in player.chord_at(led, step)]
    return notes


def _scratch(player: Accompanist) -> list[Note]:
    """Funk guitar scratching: sixteenths on the upper strings, many of them muted."""
    open_steps = {int(step) for step in player.pattern_rng.choice(player.steps, 5, replace=False)}
    muted = {step for step in range(player.steps) if player.pattern_rng.random() < 0.4}
    notes = []
    for bar, led in player.voicings(3).items():
        for step in sorted(open_steps | muted):
            length, level = (0.9, 0.75) if step in open_steps else (0.2, 0.4)
            chord = player.chord_at(led, step)
            notes += [player.note(bar, step, length, p, level, 0.004 * i) for i, p in enumerate(chord)]
    return notes


def _skank(player: Accompanist) -> list[Note]:
    """Reggae skank: chords on the off-beats, sometimes doubled like an organ bubble."""
    beat, half = player.form.grid.division, player.half
    doubled = player.pattern_rng.random() < 0.3
    places = [step + half for step in range(0, player.steps, beat)]
    if doubled:
        places = sorted([*places, *(place + 1 for place in places if place + 1 < player.steps)])
    held = player.pattern_rng.uniform(0.4, 0.9)
    return [
        player.note(bar, step, held, pitch, 0.75)
        for bar, led in player.voicings().items()
        for step in places
        for pitch in player.chord_at(led, step)
    ]


def _montuno(player: Accompanist) -> list[Note]:
    """Montuno: octaves and chord notes in a syncopated pattern."""
    steps = (
        [0, 3, 6, 8, 10, 12, 14] if player.pattern_rng.random() < 0.5 else [0, 2, 3, 5, 6, 8, 10, 11, 13, 14]
    )
    notes = []
    for bar, led in player.voicings().items():
        for index, step in enumerate(step for step in steps if step < player.steps):
            chord = player.chord_at(led, step)
            if index % 2 == 0:
                pitches = [chord[index % len(chord)], chord[index % len(chord)] + 12]
            else:
                pitches = chord[1:3]
            notes += [player.note(bar, step, 1.5, pitch, 0.75) for pitch in pitches]
    return notes


def _oompah(player: Accompanist) -> list[Note]:
    """Oompah: the bass on the first beat, chords on the others."""
    beat = player.form.grid.division
    notes = []
    for bar, led in player.voicings().items():
        notes.append(player.note(bar, 0, beat, player.root(bar, 0) + 12, 0.75))
        for step in range(beat, player.steps, beat):
            notes += [player.note(bar, step, beat * 0.6, pitch, 0.55) for pitch in player.chord_at(led, step)]
    return notes


def _bossa(player: Accompanist) -> list[Note]:
    """Bossa nova guitar: the thumb on the half notes, syncopated chords above."""
    notes = []
    for bar, led in player.voicings().items():
        for step in (0, player.steps // 2):
            notes.append(player.note(bar, step, 6, player.root(bar, step) + 12, 0.65))
        for step in (0, 3, 6, 10, 13):
            if step < player.steps:
                notes += [player.note(bar, step, 2.2, pitch, 0.6) for pitch in player.chord_at(led, step)]
    return notes


ROLES: dict[str, Callable[[Accompanist], list[Note]]] = {
    "pad": _pad,
    "comp": _comp,
    "strum": _strum,
    "pick": _pick,
    "arp": _arp,
    "power": _power,
    "riff": _riff,
    "stab": _stab,
    "scratch": _scratch,
    "skank": _skank,
    "montuno": _montuno,
    "oompah": _oompah,
    "bossa": _bossa,
}
"""Role -> function that plays it. The role `lead` is not listed: see `melody.lead_melody`."""
