from collections import Counter

import numpy as np
import pytest

from hdemucs.synthesis.score.arrangement import (
    EVERYBODY,
    PARTS,
    Arrangement,
    Passage,
    draw_arrangement,
    sparse_arrangement,
)
from hdemucs.synthesis.score.melody import solo_melody
from hdemucs.synthesis.score.notes import Note
from tests.synthesis.score.forms import form_of, seconds_of


def test_parts_are_heard_where_they_play():
    notes = [Note(start, 0.1, 60, 0.5) for start in (0.0, 1.97, 2.5, 9.0)]
    thinned = Arrangement((Passage(2.0, frozenset({"drums"})), Passage(4.0, frozenset({"bass"}))))
    assert [note.start for note in thinned.heard(notes, "drums")] == [0.0]
    assert [note.start for note in thinned.heard(notes, "bass")] == [1.97, 2.5, 9.0]
    assert not thinned.has("vocals")
    assert EVERYBODY.heard(notes, "vocals") == notes
    assert not EVERYBODY.has("soloist")


def test_every_part_is_alone_in_some_songs_and_all_play_in_most():
    form = form_of("pop", 1)
    line_ups: Counter[frozenset[str]] = Counter()
    for seed in range(200):
        arrangement = draw_arrangement(form, np.random.default_rng(seed))
        assert arrangement.passages[-1].end >= seconds_of(form) - 0.01
        line_ups.update({passage.parts for passage in arrangement.passages})
    assert all(line_ups[frozenset({part})] >= 5 for part in PARTS)
    assert line_ups[frozenset(PARTS) - {"soloist"}] > 100


@pytest.mark.parametrize("seed", range(8))
def test_in_a_sparse_arrangement_every_part_is_alone_and_every_stem_rests(seed):
    form = form_of("pop", seed)
    passages = sparse_arrangement(form, np.random.default_rng(seed)).passages
    assert passages[-1].end >= seconds_of(form) - 0.01
    lengths = np.diff([0, *(passage.end for passage in passages)])
    assert np.all((lengths > 2.5) & (lengths < 6))
    line_ups = [passage.parts for passage in passages[:8]]
    assert {frozenset({part}) for part in PARTS} - {frozenset({"other"})} <= {*line_ups}
    for stem in ({"drums"}, {"bass"}, {"other", "soloist"}, {"vocals"}):
        plays = [bool(stem & passage.parts) for passage in passages]
        assert sum(plays[:8]) in (3, 4)
        assert all(any(plays[start : start + 3]) for start in range(len(plays) - 2))


def test_a_soloist_plays_in_every_section():
    form = form_of("rock", 4)
    bars = {int(note.start / form.grid.bar) for note in solo_melody(form, 64, np.random.default_rng(0))}
    assert all(bars & set(section.bars) for section in form.sections)
