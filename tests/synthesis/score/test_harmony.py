import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdemucs.synthesis.score.harmony import (
    PROGRESSIONS,
    SCALES,
    Chord,
    MusicalKey,
    nearest_pitch,
    parse_chord,
    parse_progression,
    voice_chord,
)

C_MAJOR = MusicalKey(0, "major")


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
def test_roman_numerals_in_c_major(word, pitches, bass):
    chord = parse_chord(word, C_MAJOR)
    assert chord.pitches == pitches
    assert chord.bass == bass


def test_anything_but_a_roman_numeral_is_rejected():
    with pytest.raises(ValueError, match="'H7' is not a roman numeral"):
        parse_chord("H7", C_MAJOR)


@pytest.mark.parametrize("family", PROGRESSIONS)
@pytest.mark.parametrize("mode", SCALES)
def test_every_progression_can_be_read(family, mode):
    for line in PROGRESSIONS[family]:
        bars = parse_progression(line, MusicalKey(7, mode))
        assert len(bars) == len(line.split())
        assert all(1 <= len(bar) <= 2 for bar in bars)


def test_voicings_move_little_from_chord_to_chord():
    last = voice_chord(parse_chord("I", C_MAJOR), None, 60)
    for word in ("IV", "V7", "vi", "IV", "ii7", "V", "I"):
        chord = parse_chord(word, C_MAJOR)
        voicing = voice_chord(chord, last, 60)
        assert {pitch % 12 for pitch in voicing} == set(chord.pitches)
        assert voicing == sorted(voicing)
        assert abs(np.mean(voicing) - np.mean(last)) < 4
        assert min(voicing) >= 60
        last = voicing


def test_a_voicing_can_be_limited_to_fewer_notes():
    assert len(voice_chord(Chord(0, (0, 4, 7, 10, 14), 0), None, 48, 3)) == 3


@given(st.floats(30, 90), st.sets(st.integers(0, 11), min_size=1))
def test_the_nearest_pitch_belongs_to_the_pitch_classes(pitch, classes):
    found = nearest_pitch(pitch, tuple(classes))
    assert found % 12 in classes
    assert abs(found - pitch) <= 6.5
