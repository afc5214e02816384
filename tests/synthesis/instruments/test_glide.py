import numpy as np

from hdemucs.synthesis.instruments.glide import GLIDES, GlidePreset
from hdemucs.synthesis.score.notes import RATE, Note


def test_the_pitch_slides_between_notes():
    fretless = GlidePreset("fretless").draw([], np.random.default_rng(0))
    notes = [Note(0, 0.5, 33, 0.8), Note(0.5, 0.5, 45, 0.8)]
    audio = fretless.play(notes, 1.0, np.random.default_rng(0))[0]
    crossings = np.flatnonzero((audio[:-1] < 0) & (audio[1:] >= 0)) / RATE
    assert np.abs(np.diff(audio)).max() < 0.1 * np.abs(audio).max()
    assert len(crossings[crossings < 0.5]) < len(crossings[crossings > 0.5])


def test_every_kind_ends_with_its_last_note():
    for kind in GLIDES:
        bass = GlidePreset(kind).draw([], np.random.default_rng(1))
        audio = bass.play([Note(0.1, 0.2, 40, 0.9)], 1.0, np.random.default_rng(1))
        assert np.abs(audio[:, : round(0.3 * RATE)]).max() > 0.02
        assert np.abs(audio[:, round(0.5 * RATE) :]).max() < 1e-3
