from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdemucs.synthesis.mixing.effects import (
    Band,
    amplify,
    brighten,
    chorus,
    compress,
    draw_space,
    echo,
    equalise,
    limiter_gain,
    loudness,
    place,
    saturate,
)
from hdemucs.synthesis.score.notes import RATE


def tone(frequency: float, level: float = 0.5, seconds: float = 1.0) -> np.ndarray:
    return np.float32(level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE))[
        None
    ].repeat(2, 0)


def noise(seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(0).standard_normal((2, round(seconds * RATE)))).astype(np.float32)


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt((audio.astype(np.float64) ** 2).mean()))


def change(effect: Callable[[np.ndarray], np.ndarray], audio: np.ndarray) -> float:
    return 20 * float(np.log10(rms(effect(audio)[:, RATE // 4 :]) / rms(audio[:, RATE // 4 :])))


@pytest.mark.parametrize(
    ("band", "frequency", "expected"),
    [
        (Band("peak", 1000, 6), 1000, 6),
        (Band("peak", 1000, 6), 50, 0),
        (Band("low shelf", 300, -5), 40, -5),
        (Band("low shelf", 300, -5), 6000, 0),
        (Band("high shelf", 3000, 4), 15000, 4),
        (Band("high shelf", 3000, 4), 100, 0),
        (Band("low pass", 1000), 1000, -3),
        (Band("low pass", 1000), 8000, -37),
        (Band("high pass", 1000), 125, -36),
        (Band("high pass", 1000), 10000, 0),
    ],
)
def test_bands_have_their_gain_at_their_frequency(band, frequency, expected):
    assert change(lambda audio: equalise(audio, [band]), tone(frequency)) == pytest.approx(expected, abs=1.2)


def test_the_reference_tone_has_the_loudness_of_the_standard():
    # BS.1770: 997 Hz at 0 dBFS in one channel is -3.01 LUFS; in both channels 3.01 LU more.
    assert loudness(tone(997, 1.0, 3.0)) == pytest.approx(0.0, abs=0.3)
    assert loudness(np.zeros((2, 3 * RATE), np.float32)) == -120


def test_silence_does_not_lower_the_loudness():
    sparse = np.concatenate([tone(997, 0.5, 3.0), np.zeros((2, 9 * RATE), np.float32)], axis=1)
    assert loudness(sparse) == pytest.approx(loudness(tone(997, 0.5, 3.0)), abs=0.5)


@given(st.integers(1, 3000), st.floats(-20, 0), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_limited_peaks_stay_below_the_ceiling(length, ceiling, seed):
    audio = np.random.default_rng(seed).normal(0, 0.7, (2, length)).astype(np.float32)
    limited = audio * limiter_gain(audio, ceiling)
    assert np.abs(limited).max() <= 10 ** (ceiling / 20) * (1 + 1e-5)
    quiet = audio * np.float32(0.1 * 10 ** (ceiling / 20) / np.abs(audio).max())
    np.testing.assert_array_equal(limiter_gain(quiet, ceiling), np.ones(length, np.float32))


def test_compression_narrows_the_dynamic_range_and_keeps_silence():
    loud, soft = tone(300, 0.8), tone(300, 0.08)
    both = np.concatenate([loud, soft], axis=1)
    out = compress(both, 20, 4, 0.005, 0.1)
    before = rms(both[:, : RATE // 2]) / rms(both[:, -RATE // 4 :])
    after = rms(out[:, RATE // 4 : RATE // 2]) / rms(out[:, -RATE // 4 :])
    assert after < 0.4 * before
    np.testing.assert_array_equal(compress(0 * both, 20, 4, 0.005, 0.1), 0 * both)


def test_saturation_keeps_the_peak_and_adds_harmonics():
    audio = tone(1000)
    bent = saturate(audio, 12)
    assert np.abs(bent).max() == pytest.approx(0.5, rel=1e-3)
    spectrum = np.abs(np.fft.rfft(bent[0]))
    assert spectrum[3000] > 0.05 * spectrum[1000]


def test_an_amplifier_is_mono_and_cuts_the_highs():
    played = amplify(noise(level=0.3), 40, np.random.default_rng(0))
    assert played.shape == (1, RATE)
    spectrum = np.abs(np.fft.rfft(played[0])) ** 2
    assert spectrum[12000:].sum() < 0.01 * spectrum.sum()


def test_brightening_changes_dull_sounds_only():
    dull = equalise(noise(), [Band("low pass", 2000), Band("low pass", 2000), Band("low pass", 2000)])

    def highs(audio: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(audio[0])) ** 2
        return 10 * float(np.log10(spectrum[8000:].sum() / spectrum.sum()))

    assert highs(brighten(dull, -25)) > highs(dull) + 8
    bright = noise()
    np.testing.assert_array_equal(brighten(bright, -25), bright)


def test_reverb_decays_and_is_stereo():
    space = draw_space(np.random.default_rng(0), (1.0, 1.01), (0.02, 0.021))
    click = np.zeros((2, 2 * RATE), np.float32)
    click[:, 0] = 1
    wet = space.reverberate(click)
    assert wet.shape == click.shape
    assert (wet.astype(np.float64) ** 2).sum() == pytest.approx(2, rel=0.05)
    assert np.abs(wet[:, : round(0.015 * RATE)]).max() < 1e-6
    assert np.corrcoef(wet)[0, 1] < 0.6
    early, late = rms(wet[:, RATE // 20 : RATE // 5]), rms(wet[:, RATE : RATE + RATE // 10])
    assert 1e-5 < late / early < 0.05


def test_echoes_alternate_between_sides_at_the_delay_time():
    click = np.zeros((2, RATE), np.float32)
    click[0, 0] = 1
    repeats = echo(click, 0.25, 0.5)
    peak = np.abs(repeats).argmax(axis=1) / RATE
    assert peak[1] == pytest.approx(0.25, abs=0.002)
    assert peak[0] == pytest.approx(0.5, abs=0.002)


@given(st.floats(-1, 1))
def test_panning_keeps_the_power(pan):
    audio = place(noise(0.1)[:1], pan)
    assert rms(audio) == pytest.approx(rms(noise(0.1)[:1]), rel=1e-3)


def test_a_chorus_widens_the_stereo_image():
    audio = noise()[:1].repeat(2, 0)
    wide = chorus(audio, 0.8, 0.004, np.random.default_rng(0))
    assert wide.shape == audio.shape
    assert rms(wide[0] - wide[1]) > 0.05 * rms(wide)
