from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.synthesis.score.forms import GENRES_BY_NAME, form_of


@given(st.sampled_from(sorted(GENRES_BY_NAME)), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_sections_follow_each_other_and_those_of_a_kind_are_alike(name, seed):
    form = form_of(name, seed)
    assert form.sections[0].bars.start == 0
    for before, after in pairwise(form.sections):
        assert before.bars.stop == after.bars.start
    for section in form.sections:
        assert section.chords
        assert 0 < section.energy <= 1
        alike = [other for other in form.sections if other.kind == section.kind]
        assert all(other.chords == section.chords and other.groove == section.groove for other in alike)


def test_the_same_seed_gives_the_same_form():
    assert form_of(seed=5) == form_of(seed=5)
    assert form_of(seed=5) != form_of(seed=6)


def test_seeds_keep_their_songs_from_version_to_version():
    form = form_of("pop", 0)
    assert form.grid.tempo == pytest.approx(110.574161)
    assert (form.key.tonic, form.key.mode) == (0, "major")
    assert [section.kind for section in form.sections[:6]] == ["intro", *["verse", "chorus"] * 2, "bridge"]
