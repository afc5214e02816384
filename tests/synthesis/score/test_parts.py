from itertools import pairwise

import numpy as np
import pytest

from hdemucs.synthesis.score.accompaniment import ROLES, play_layer
from hdemucs.synthesis.score.basslines import LOWEST, STYLES, play_bass
from hdemucs.synthesis.score.genres import Layer
from hdemucs.synthesis.score.melody import lead_melody, sing_melody
from tests.synthesis.score.forms import form_of, seconds_of


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["rock", "blues", "waltz"])
def test_bass_lines_stay_low_and_play_chord_notes(style, name):
    form = form_of(name, 3)
    notes = play_bass(form, style, np.random.default_rng(0))
    assert notes
    assert all(LOWEST <= note.pitch <= LOWEST + 24 and note.duration > 0 for note in notes)
    assert all(0 <= note.start < seconds_of(form) + 0.1 for note in notes)
    chord_notes = 0
    for note in notes:
        bar = int(note.start / form.grid.bar + 0.02)
        section = next((section for section in form.sections if bar in section.bars), form.sections[-1])
        step = note.start / form.grid.step - bar * form.grid.steps + 0.3
        chord_notes += note.pitch % 12 in section.chord(bar, step, form.grid.steps).pitches
    assert chord_notes > 0.4 * len(notes)


@pytest.mark.parametrize("role", [*ROLES, "lead"])
@pytest.mark.parametrize("name", ["pop", "jazz", "waltz"])
def test_every_role_plays_in_every_metre(role, name):
    form = form_of(name, 1)
    notes = play_layer(form, Layer(role, ["piano"], 1.0, 0.0), 52, np.random.default_rng(0))
    assert notes
    assert all(0 <= note.start < seconds_of(form) + 0.5 and note.duration > 0 for note in notes)
    assert all(20 <= note.pitch <= 108 and 0 < note.velocity <= 1 for note in notes)


@pytest.mark.parametrize("style", ["sung", "rapped", "spoken"])
def test_vocal_melodies_have_rests_and_stay_in_range(style):
    form = form_of("pop", 2)
    notes = sing_melody(form, 60, np.random.default_rng(0), style=style)
    assert notes == sorted(notes, key=lambda note: note.start)
    gaps = [after.start - note.start - note.duration for note, after in pairwise(notes)]
    assert sum(gap > 0.3 for gap in gaps) >= 5
    assert all(gap > -0.15 for gap in gaps)
    assert all(45 <= note.pitch <= 75 for note in notes)
    sung = sum(note.duration for note in notes)
    assert 0.2 * seconds_of(form) < sung < 0.95 * seconds_of(form)


def test_rap_has_more_syllables_than_singing():
    form = form_of("pop", 2)
    sung, rapped = (
        len(sing_melody(form, 60, np.random.default_rng(0), style=style)) for style in ("sung", "rapped")
    )
    assert rapped > 1.3 * sung


def test_choruses_are_sung_higher_than_verses():
    pitches: dict[str, list[float]] = {"verse": [], "chorus": []}
    for seed in range(8):
        form = form_of("pop", seed)
        for note in sing_melody(form, 60, np.random.default_rng(seed)):
            bar = int(note.start / form.grid.bar)
            kind = next((section.kind for section in form.sections if bar in section.bars), "")
            pitches.get(kind, []).append(note.pitch)
    assert np.mean(pitches["chorus"]) > np.mean(pitches["verse"]) + 0.5


def test_lead_instruments_play_where_the_voice_rests():
    form = form_of("rock", 4)
    notes = lead_melody(form, 64, 0.3, np.random.default_rng(0))
    rest = next(section for section in form.sections if section.kind in ("intro", "solo", "outro"))
    assert any(rest.bars.start <= note.start / form.grid.bar < rest.bars.stop for note in notes)
