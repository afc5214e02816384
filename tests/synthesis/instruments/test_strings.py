"""Plucked strings: their tuning, decay and dynamics."""

import numpy as np
import pytest

from hdemucs.synthesis.instruments.strings import STRINGS, StringPreset
from hdemucs.synthesis.score.notes import RATE, Note

KINDS = [(kind, seed) for kind in STRINGS for seed in (0, 1)]


def level(audio: np.ndarray, start: float, end: float) -> float:
    part = audio[:, round(start * RATE) : round(end * RATE)]
    return float(10 * np.log10(np.mean(part.astype(np.float64) ** 2) + 1e-20))


@pytest.mark.parametrize(("kind", "seed"), KINDS)
def test_strings_are_in_tune_decay_and_are_damped_at_the_end(kind, seed):
    rng = np.random.default_rng(seed)
    audio = StringPreset(kind).draw([], rng).play([Note(0.1, 1.0, 45, 0.8)], 2.5, rng)
    assert 0.02 < np.abs(audio).max() < 1.5
    spectrum = np.abs(np.fft.rfft(audio[0], 1 << 19))
    frequencies = np.fft.rfftfreq(1 << 19, 1 / RATE)
    near = (frequencies > 90) & (frequencies < 130)
    peak = frequencies[near][spectrum[near].argmax()]
    assert abs(1200 * np.log2(peak / 110)) < 15
    assert level(audio, 0.15, 0.3) > level(audio, 0.9, 1.05) >= level(audio, 1.8, 2.4)
    assert level(audio, 2.0, 2.5) < level(audio, 0.1, 0.3) - 40


@pytest.mark.parametrize("kind", STRINGS)
def test_a_harder_stroke_is_louder_and_brighter(kind):
    string = StringPreset(kind).draw([], np.random.default_rng(3))

    def played(velocity: float) -> np.ndarray:
        return string.play([Note(0, 0.5, 45, velocity)], 0.5, np.random.default_rng(0))

    def brightness(audio: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(audio[0])) ** 2
        return float((power * np.fft.rfftfreq(audio.shape[1], 1 / RATE)).sum() / power.sum())

    assert level(played(0.9), 0, 0.5) > level(played(0.4), 0, 0.5) + 3
    assert brightness(played(0.9)) > brightness(played(0.4))


def test_instruments_of_a_kind_differ():
    rng = np.random.default_rng(0)
    finger = StringPreset("finger")
    assert finger.draw([], rng) != finger.draw([], rng)


@pytest.mark.parametrize("kind", STRINGS)
def test_a_note_longer_than_the_string_rings_ends_without_a_click(kind):
    rng = np.random.default_rng(1)
    audio = StringPreset(kind).draw([], rng).play([Note(0, 8, 33, 1)], 8, rng)[0]
    ending = np.flatnonzero(audio)[-1]
    assert np.abs(audio[ending - 20 :]).max() < 0.002
