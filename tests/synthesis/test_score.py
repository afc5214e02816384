from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdemucs.synthesis.drums.kits import DRUMS
from hdemucs.synthesis.instruments.families import FAMILIES
from hdemucs.synthesis.score.accompaniment import ROLES, play_layer
from hdemucs.synthesis.score.basslines import LOWEST, STYLES, play_bass
from hdemucs.synthesis.score.form import Form, make_form
from hdemucs.synthesis.score.genres import GENRES, Layer
from hdemucs.synthesis.score.grooves import GROOVES, make_groove, play_groove
from hdemucs.synthesis.score.harmony import (
    PROGRESSIONS,
    SCALES,
    Chord,
    Key,
    nearest,
    parse_chord,
    parse_progression,
    voice,
)
from hdemucs.synthesis.score.melody import lead_melody, sing_melody
from hdemucs.synthesis.score.timing import Grid

BY_NAME = {genre.name: genre for genre in GENRES}


def form_of(name: str = "pop", seed: int = 0) -> Form:
    return make_form(BY_NAME[name], np.random.default_rng(seed))


def length(form: Form) -> float:
    return form.sections[-1].bars.stop * form.grid.bar


@given(st.floats(60, 180), st.floats(0, 0.6), st.sampled_from([1, 2]))
def test_swing_moves_only_the_second_of_each_pair(tempo, swing, swung):
    grid = Grid(tempo, swing=swing, swung=swung)
    times = [grid.time(3, step) for step in range(17)]
    assert np.all(np.diff(times) > 0)
    assert times[0] == pytest.approx(3 * grid.bar)
    assert times[16] == pytest.approx(4 * grid.bar)
    assert times[2 * swung] == pytest.approx(3 * grid.bar + 2 * swung * grid.step)
    assert times[swung] == pytest.approx(3 * grid.bar + swung * grid.step * (1 + swing))


def test_the_first_beat_is_the_strongest():
    grid = Grid(120)
    weights = [grid.weight(step) for step in range(16)]
    assert max(weights) == weights[0]
    assert weights[4] > weights[2] > weights[1]


@pytest.mark.parametrize(
    ("word", "pitches", "bass"),
    [
        ("I", (0, 4, 7), 0),
        ("vi", (9, 0, 4), 9),
        ("bVII", (10, 2, 5), 10),
        ("ii7", (2, 5, 9, 0), 2),
        ("V7", (7, 11, 2, 5), 7),
        ("iim7b5", (2, 5, 8, 0), 2),
        ("V/7", (7, 11, 2), 11),
        ("i5", (0, 7), 0),
        ("IVmaj7", (5, 9, 0, 4), 5),
    ],
)
def test_roman_numerals_in_c(word, pitches, bass):
    chord = parse_chord(word, Key(0, "major"))
    assert chord.pitches == pitches
    assert chord.bass == bass


def test_what_is_no_numeral_is_refused():
    with pytest.raises(ValueError, match="'H7' is no roman numeral"):
        parse_chord("H7", Key(0, "major"))


@pytest.mark.parametrize("family", PROGRESSIONS)
@pytest.mark.parametrize("mode", SCALES)
def test_every_progression_can_be_read(family, mode):
    for line in PROGRESSIONS[family]:
        bars = parse_progression(line, Key(7, mode))
        assert len(bars) == len(line.split())
        assert all(1 <= len(bar) <= 2 for bar in bars)


def test_voices_move_little_from_chord_to_chord():
    key = Key(0, "major")
    last = voice(parse_chord("I", key), None, 60)
    for word in ("IV", "V7", "vi", "IV", "ii7", "V", "I"):
        chord = parse_chord(word, key)
        led = voice(chord, last, 60)
        assert {pitch % 12 for pitch in led} == set(chord.pitches)
        assert abs(np.mean(led) - np.mean(last)) < 4
        assert min(led) >= 60
        last = led
    assert len(voice(Chord(0, (0, 4, 7, 10, 14), 0), None, 48, 3)) == 3


@given(st.floats(30, 90), st.sets(st.integers(0, 11), min_size=1))
def test_the_nearest_pitch_belongs(pitch, classes):
    found = nearest(pitch, tuple(classes))
    assert found % 12 in classes
    assert abs(found - pitch) <= 6.5


@pytest.mark.parametrize("genre", GENRES, ids=lambda genre: genre.name)
def test_styles_name_what_exists(genre):
    assert set(genre.progressions) <= set(PROGRESSIONS)
    assert set(genre.grooves) <= set(GROOVES)
    assert set(genre.bass) <= set(STYLES)
    assert set(genre.basses) <= set(FAMILIES)
    assert {layer.role for layer in genre.layers} <= {*ROLES, "lead"}
    assert {family for layer in genre.layers for family in layer.families} <= set(FAMILIES)
    assert set(genre.kits) <= {"acoustic", "electronic"}
    assert set(genre.singing) <= {"sung", "rapped", "spoken"}
    assert 55 <= genre.tempo[0] <= genre.tempo[1] <= 180


@pytest.mark.parametrize("held_out", [False, True])
def test_there_are_styles_on_both_sides(held_out):
    assert sum(genre.held_out == held_out for genre in GENRES) >= 4


@pytest.mark.parametrize("name", GROOVES)
def test_grooves_are_of_whole_bars_and_known_drums(name):
    assert set(GROOVES[name]) <= set(DRUMS)
    assert len({len(pattern) for pattern in GROOVES[name].values()}) == 1
    assert all(set(pattern) <= set("Xxog?.") for pattern in GROOVES[name].values())


@given(st.sampled_from(sorted(BY_NAME)), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_forms_have_sections_end_to_end_with_chords(name, seed):
    form = form_of(name, seed)
    assert form.sections[0].bars.start == 0
    for before, after in pairwise(form.sections):
        assert before.bars.stop == after.bars.start
    for section in form.sections:
        assert section.chords
        assert 0 < section.energy <= 1
        alike = [other for other in form.sections if other.kind == section.kind]
        assert all(other.chords == section.chords and other.groove == section.groove for other in alike)


def test_the_same_seed_writes_the_same_song():
    assert form_of(seed=5) == form_of(seed=5)
    assert form_of(seed=5) != form_of(seed=6)


def test_drummers_end_sections_with_fills_and_start_them_with_crashes():
    grid = Grid(120)
    groove = make_groove("rock", 16, np.random.default_rng(1))
    hits = play_groove(groove, grid, range(4, 8), 0.8, np.random.default_rng(1), fill=True, crash=True)
    assert all(4 * grid.bar - 0.05 < hit.start < 8 * grid.bar for hit in hits)
    assert any(hit.drum == "crash" and hit.start < 4 * grid.bar + 0.05 for hit in hits)
    assert all(0 < hit.velocity <= 1 for hit in hits)
    plain = play_groove(groove, grid, range(4, 8), 0.8, np.random.default_rng(1), fill=False, crash=False)
    last = 7 * grid.bar
    assert sorted(hit.drum for hit in hits if hit.start > last) != sorted(
        h.drum for h in plain if h.start > last
    )
    quiet = play_groove(groove, grid, range(4), 0.2, np.random.default_rng(1), fill=False, crash=False)
    assert len(quiet) < len(plain)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["rock", "blues", "waltz"])
def test_basses_stay_low_and_play_roots(style, name):
    form = form_of(name, 3)
    notes = play_bass(form, style, np.random.default_rng(0))
    assert notes
    assert all(LOWEST <= note.pitch <= LOWEST + 24 and note.duration > 0 for note in notes)
    assert all(0 <= note.start < length(form) + 0.1 for note in notes)
    roots = 0
    for note in notes:
        bar = int(note.start / form.grid.bar + 0.02)
        section = next((section for section in form.sections if bar in section.bars), form.sections[-1])
        step = note.start / form.grid.step - bar * form.grid.steps + 0.3
        roots += note.pitch % 12 in section.chord(bar, step, form.grid.steps).pitches
    assert roots > 0.4 * len(notes)


@pytest.mark.parametrize("role", [*ROLES, "lead"])
@pytest.mark.parametrize("name", ["pop", "jazz", "waltz"])
def test_every_role_plays_in_every_metre(role, name):
    form = form_of(name, 1)
    notes = play_layer(form, Layer(role, ["piano"], 1.0, 0.0), 52, np.random.default_rng(0))
    assert notes
    assert all(0 <= note.start < length(form) + 0.5 and note.duration > 0 for note in notes)
    assert all(20 <= note.pitch <= 108 and 0 < note.velocity <= 1 for note in notes)


@pytest.mark.parametrize("style", ["sung", "rapped", "spoken"])
def test_melodies_have_rests_and_lie_in_the_range(style):
    form = form_of("pop", 2)
    notes = sing_melody(form, 60, np.random.default_rng(0), style=style)
    assert notes == sorted(notes, key=lambda note: note.start)
    gaps = [after.start - note.start - note.duration for note, after in pairwise(notes)]
    assert sum(gap > 0.3 for gap in gaps) >= 5
    assert all(gap > -0.15 for gap in gaps)
    assert all(45 <= note.pitch <= 75 for note in notes)
    sung = sum(note.duration for note in notes)
    assert 0.2 * length(form) < sung < 0.95 * length(form)


def test_raps_have_more_syllables_than_songs():
    form = form_of("pop", 2)
    rate = {
        style: len(sing_melody(form, 60, np.random.default_rng(0), style=style)) / length(form)
        for style in ("sung", "rapped")
    }
    assert rate["rapped"] > 1.3 * rate["sung"]


def test_choruses_are_sung_higher_than_verses():
    means: dict[str, list[float]] = {"verse": [], "chorus": []}
    for seed in range(8):
        form = form_of("pop", seed)
        for note in sing_melody(form, 60, np.random.default_rng(seed)):
            bar = int(note.start / form.grid.bar)
            kind = next((section.kind for section in form.sections if bar in section.bars), "")
            means.get(kind, []).append(note.pitch)
    assert np.mean(means["chorus"]) > np.mean(means["verse"]) + 0.5


def test_lead_instruments_play_where_the_voice_rests():
    form = form_of("rock", 4)
    notes = lead_melody(form, 64, 0.3, np.random.default_rng(0))
    intro = next(section for section in form.sections if section.kind in ("intro", "solo", "outro"))
    inside = [n for n in notes if intro.bars.start <= n.start / form.grid.bar < intro.bars.stop]
    assert inside
