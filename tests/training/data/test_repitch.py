"""Change of tempo and pitch: by the requested ratio, aligned, at the same level, reproducible."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from julius import lowpass
from torch import Tensor

from hdemucs.training.data.repitch import MARGIN, Change, Repitch
from tests.audio.signals import noise

RATE = 22050
CHANGES = [Change(1.12, 2), Change(0.88, -2), Change(1.0, 1), Change(0.95, 0), Change(1.12, -2)]


def sine(frequency: float, length: int, level: float = 0.3) -> Tensor:
    phase = 2 * torch.pi * frequency * torch.arange(length, dtype=torch.float64) / RATE
    return (level * torch.sin(phase)).float().expand(1, 1, -1)


def decibels(got: Tensor, wanted: Tensor) -> float:
    """Level of one signal relative to another."""
    return float(20 * torch.log10(got.square().mean().sqrt() / wanted.square().mean().sqrt()))


def peak(signal: Tensor) -> float:
    """Frequency of the strongest tone in Hz, from a parabola through the logarithm of its bins."""
    window = torch.signal.windows.gaussian(len(signal), std=len(signal) / 8, dtype=torch.float64)
    spectrum = torch.fft.rfft(signal.double() * window).abs().log()
    best = int(spectrum.argmax())
    left, middle, right = spectrum[best - 1 : best + 2].tolist()
    return (best + (left - right) / (left - 2 * middle + right) / 2) * RATE / len(signal)


def clicks(times: list[float], length: int) -> Tensor:
    """Short bursts of noise, `[1, 1, length]`, each starting at one of `times`, in samples."""
    burst = noise(200, channels=1, level=0.9)[0] * torch.exp(-torch.arange(200) / 30)
    signal = torch.zeros(length)
    for time in times:
        signal[round(time) : round(time) + 200] += burst
    return signal.expand(1, 1, -1)


def centre(signal: Tensor) -> float:
    """Sample at which half of the energy has passed."""
    energy = signal.double().square().cumsum(0)
    return float(torch.searchsorted(energy, energy[-1] / 2))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("frequency", [55.0, 440.0, 3000.0])
def test_a_tone_moves_by_exactly_the_pitch_change(change, frequency):
    length = 2 * RATE
    stems = sine(frequency, change.source_length(length))
    changed = change.apply(stems, length, RATE)
    cents = 1200 * np.log2(peak(changed[0, 0]) / frequency)
    assert cents == pytest.approx(100 * change.pitch, abs=1)
    assert decibels(changed, stems) == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("change", CHANGES)
def test_clicks_move_by_exactly_the_tempo_change(change):
    length = 2 * RATE
    wanted = [0.1 * RATE, 0.8 * RATE, 1.8 * RATE]
    stems = clicks([MARGIN + time * change.tempo for time in wanted], change.source_length(length))
    changed = change.apply(stems, length, RATE)
    for time in wanted:
        around = changed[0, 0, round(time) - 1000 : round(time) + 1000]
        before = clicks([1000], 2000)[0, 0]
        assert centre(around) == pytest.approx(centre(before), abs=0.001 * RATE)


@pytest.mark.parametrize("change", CHANGES)
def test_stems_stay_aligned_with_one_another(change):
    """Clicks beside the same clicks with a tone, and the same clicks as a voice."""
    length = RATE
    stems = clicks([MARGIN + k * RATE / 5 for k in range(5)], change.source_length(length))[0]
    stems = torch.stack([stems, stems + 0.05 * sine(200, stems.shape[-1])[0], stems])
    first, second, voice = change.apply(stems, length, RATE, voices=[2])[:, 0]
    for other in (second, voice):
        # Envelopes are compared, as the bursts themselves change with the pitch.
        spectra = [torch.fft.rfft(signal.abs().double(), 2 * length) for signal in (first, other)]
        correlation = torch.fft.irfft(spectra[0] * spectra[1].conj())
        lag = (int(correlation.argmax()) + length) % (2 * length) - length
        assert abs(lag) < 0.0005 * RATE


@pytest.mark.parametrize("change", CHANGES)
def test_noise_keeps_its_level_to_its_ends(change):
    """The noise ends at 7 kHz: higher frequencies could be moved out of the band by the pitch change."""
    length = 2 * RATE
    stems = lowpass.lowpass_filter(noise(change.source_length(length), channels=1), 7000 / RATE)[None]
    changed = change.apply(stems, length, RATE)
    stretch = abs(np.log(change.tempo) - np.log(2) * change.pitch / 12)
    assert (-1.1 if stretch > 0.15 else -0.75) <= decibels(changed, stems) <= 0
    for end in (changed[..., :2000], changed[..., -2000:]):
        assert decibels(end, changed) == pytest.approx(0, abs=0.6)


def test_equal_channels_stay_equal():
    change = Change(1.07, -1)
    left = noise(change.source_length(RATE), channels=1)[None]
    changed = change.apply(torch.cat([left, -0.5 * left], 1), RATE, RATE)
    torch.testing.assert_close(changed[0, 1], -0.5 * changed[0, 0], rtol=0, atol=1e-5)


def test_a_row_does_not_depend_on_the_others():
    change = Change(0.93, 2)
    stems = torch.stack([noise(change.source_length(5000), seed=seed) for seed in range(3)])
    all_rows = change.apply(stems, 5000, RATE)
    alone = change.apply(stems[1:2], 5000, RATE)
    assert torch.equal(all_rows[1], alone[0])


def test_voices_get_half_of_the_pitch_change():
    change = Change(1.05, 2)
    stems = sine(440, change.source_length(RATE)).repeat(2, 1, 1)
    other, voice = change.apply(stems, RATE, RATE, voices=[1])[:, 0]
    assert 1200 * np.log2(peak(other) / 440) == pytest.approx(200, abs=1)
    assert 1200 * np.log2(peak(voice) / 440) == pytest.approx(100, abs=1)


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 3000),
    rows=st.integers(1, 3),
    channels=st.integers(1, 2),
    tempo=st.floats(0.85, 1.15),
    pitch=st.integers(-3, 3),
    rate=st.sampled_from([8000, 16000, 44100, 48000]),
)
def test_lengths_are_exact_and_silence_stays_silent(length, rows, channels, tempo, pitch, rate):
    change = Change(tempo, pitch)
    stems = torch.zeros(rows, channels, change.source_length(length))
    stems[0] = noise(stems.shape[-1], channels)
    changed = change.apply(stems, length, rate)
    assert changed.shape == (rows, channels, length)
    assert changed.isfinite().all()
    assert changed[0].any()
    assert not changed[1:].any()


DIGEST = """
import hashlib, torch
from hdemucs.training.data.repitch import Change
stems = torch.randn(2, 2, Change(1.1, 1).source_length(9000), generator=torch.Generator().manual_seed(0))
changed = [Change(1.1, 1).apply(stems, 9000, 44100).numpy().tobytes() for _ in range(2)]
print(*(hashlib.sha256(one).hexdigest() for one in changed))
"""


@pytest.mark.slow
def test_results_are_the_same_in_every_call_and_process():
    runs = [subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True) for _ in range(2)]
    digests = [digest for run in runs for digest in run.stdout.split()]
    assert len(digests) == 4, runs[0].stderr
    assert len({*digests}) == 1


def test_stems_of_the_wrong_length_are_rejected():
    with pytest.raises(ValueError, match=r"100 samples need stems of \d+ samples, not 100"):
        Change(1.1, 0).apply(torch.zeros(1, 2, 100), 100, RATE)


def test_draws_are_those_of_the_paper():
    rng = np.random.default_rng(0)
    draws = [Repitch().draw(rng) for _ in range(20_000)]
    changes = [change for change in draws if change is not None]
    # Four standard deviations.
    assert len(changes) / len(draws) == pytest.approx(0.2, abs=0.012)
    tempi = np.array([change.tempo for change in changes])
    assert tempi.min() == pytest.approx(0.88)
    assert tempi.max() == pytest.approx(1.12)
    assert tempi.mean() == pytest.approx(1, abs=0.004)
    # A normal of 5%, clipped at 2.4 standard deviations.
    assert tempi.std() == pytest.approx(0.0492, abs=0.0025)
    pitches = Counter(change.pitch for change in changes)
    assert sorted(pitches) == [-2, -1, 0, 1, 2]
    assert min(pitches.values()) > 0.16 * len(changes)
    assert max(pitches.values()) < 0.24 * len(changes)


def test_draws_follow_the_settings():
    rng = np.random.default_rng(0)
    assert Repitch(probability=0).draw(rng) is None
    change = Repitch(probability=1, max_tempo=0, max_pitch=0).draw(rng)
    assert change == Change(1.0, 0)
    assert [Repitch().draw(np.random.default_rng(7)) for _ in range(3)].count(
        Repitch().draw(np.random.default_rng(7))
    ) == 3
