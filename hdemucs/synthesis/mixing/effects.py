"""Studio effects on float32 audio `[channels, length]`: equaliser, dynamics, distortion, reverb, stereo.

Nothing here loops over samples in Python: dynamics processors measure frames of a few samples each, and
interpolate their gain in between.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, oaconvolve, resample_poly, sosfilt

from hdemucs.synthesis.score.notes import RATE

FRAME = 64  # samples that share one measurement of the level
_SILENCE = -120.0  # dB
_KNEE = 6.0  # dB: width of a compressor's soft knee
_SHELF = 9.0  # dB: maximum gain of the shelf in `brighten`


def gain(decibels: float) -> np.float32:
    """Convert a gain from dB to a factor."""
    return np.float32(10 ** (decibels / 20))


@dataclass(frozen=True)
class Band:
    """One band of an equaliser.

    Attributes:
        kind: `peak`, `low shelf`, `high shelf`, `low pass` or `high pass` (12 dB per octave).
        frequency: Centre or cutoff frequency in Hz.
        gain: Gain in dB; ignored by `low pass` and `high pass`.
        q: Quality factor; at 0.7, low and high passes have no resonance.
    """

    kind: str
    frequency: float
    gain: float = 0.0
    q: float = 0.7

    def section(self) -> np.ndarray:
        """Compute its second-order section `[6]`, after R. Bristow-Johnson's Audio EQ Cookbook."""
        amplitude = 10 ** (self.gain / 40)
        omega = 2 * np.pi * min(self.frequency, 0.47 * RATE) / RATE
        cosine, alpha = np.cos(omega), np.sin(omega) / (2 * self.q)
        if self.kind == "peak":
            b = (1 + alpha * amplitude, -2 * cosine, 1 - alpha * amplitude)
            a = (1 + alpha / amplitude, -2 * cosine, 1 - alpha / amplitude)
        elif self.kind.endswith("pass"):
            sign = 1 if self.kind == "high pass" else -1
            edge = (1 + sign * cosine) / 2
            b = (edge, -sign * (1 + sign * cosine), edge)
            a = (1 + alpha, -2 * cosine, 1 - alpha)
        else:
            side = 1 if self.kind == "low shelf" else -1
            slope = 2 * np.sqrt(amplitude) * alpha
            plus, minus = amplitude + 1, (amplitude - 1) * side
            b = (
                amplitude * (plus - minus * cosine + slope),
                2 * amplitude * (minus - plus * cosine),
                amplitude * (plus - minus * cosine - slope),
            )
            a = (plus + minus * cosine + slope, -2 * (minus + plus * cosine), plus + minus * cosine - slope)
        return np.array([*b, *a]) / a[0]


def equalise(audio: np.ndarray, bands: Iterable[Band]) -> np.ndarray:
    """Filter audio with a chain of equaliser bands."""
    sections = [band.section() for band in bands]
    return sosfilt(np.array(sections), audio).astype(np.float32) if sections else audio


def random_tone(rng: np.random.Generator, bands: int, amount: float) -> list[Band]:
    """Draw broad peaks of up to `amount` dB at random frequencies, as no two recordings sound alike."""
    return [
        Band(
            "peak",
            float(np.exp(rng.uniform(np.log(80), np.log(14000)))),
            float(rng.uniform(-amount, amount)),
            0.8,
        )
        for _ in range(bands)
    ]


def frame_levels(audio: np.ndarray) -> np.ndarray:
    """Peak level of each frame over all channels, in dBFS."""
    length = audio.shape[-1]
    padded = np.pad(np.abs(audio).max(axis=0), (0, -length % FRAME))
    peaks = padded.reshape(-1, FRAME).max(axis=1)
    return 20 * np.log10(np.maximum(peaks, 10 ** (_SILENCE / 20)))


def per_sample(values: np.ndarray, length: int) -> np.ndarray:
    """Interpolate one value per frame to one per sample, float32 `[length]`."""
    centres = np.arange(len(values)) * FRAME + FRAME / 2
    return np.interp(np.arange(length), centres, values).astype(np.float32)


def compressor_gain(
    audio: np.ndarray, threshold: float, ratio: float, attack: float, release: float
) -> np.ndarray:
    """Compute the gain of a compressor for every sample.

    After a peak, the measured level falls by a constant number of dB per second. In the logarithmic domain,
    this is a running maximum, which numpy provides.

    Args:
        audio: Audio to measure, with linked channels.
        threshold: Level in dBFS above which the signal is compressed.
        ratio: Compression ratio, 2 to 20.
        attack: Time constant of the gain in seconds.
        release: Time in seconds in which the measured level falls by 8.7 dB, a factor of e.

    Returns:
        Gain factors, float32 `[length]`.
    """
    rate = RATE / FRAME
    fall = 8.7 / (release * rate) * np.arange(-(-audio.shape[-1] // FRAME))
    level = np.maximum.accumulate(frame_levels(audio) + fall) - fall
    over = level - threshold
    bent = np.where(np.abs(over) < _KNEE / 2, (over + _KNEE / 2) ** 2 / (2 * _KNEE), np.maximum(over, 0))
    pole = np.exp(-1 / max(attack * rate, 0.1))
    reduction = lfilter([1 - pole], [1, -pole], bent * (1 / ratio - 1))
    return per_sample(10 ** (reduction / 20), audio.shape[-1])


def compress(audio: np.ndarray, depth: float, ratio: float, attack: float, release: float) -> np.ndarray:
    """Compress audio, and make up for most of the gain reduction.

    Args:
        audio: Audio to compress, with linked channels.
        depth: Distance of the threshold below the level of loud passages, in dB.
        ratio: Compression ratio, 2 to 20.
        attack: Attack in seconds, see `compressor_gain`.
        release: Release in seconds, see `compressor_gain`.
    """
    loud = float(np.percentile(frame_levels(audio), 95))
    if loud < -80:
        return audio
    curve = compressor_gain(audio, loud - depth, ratio, attack, release)
    return audio * curve * gain(depth * (1 - 1 / ratio) * 0.7)


def limiter_gain(audio: np.ndarray, ceiling: float, window: float = 0.02) -> np.ndarray:
    """Compute the gain of a look-ahead limiter for every sample.

    Args:
        audio: Audio to limit, with linked channels.
        ceiling: Maximum peak of the result in dBFS.
        window: Time in seconds over which the gain is smoothed.

    Returns:
        Gain factors, float32 `[length]`.
    """
    needed = 10 ** (np.minimum(0, ceiling - frame_levels(audio)) / 20)
    size = 2 * max(1, round(window * RATE / FRAME / 2)) + 1
    smooth = uniform_filter1d(minimum_filter1d(needed, size + 2), size)
    return per_sample(smooth, audio.shape[-1])


def saturate(audio: np.ndarray, drive: float, bias: float = 0.0) -> np.ndarray:
    """Saturate audio like tape or a tube, without changing its peak level.

    Args:
        audio: Audio to saturate.
        drive: Level in dB at which the highest peak enters the tanh curve.
        bias: Offset on the curve; adds even harmonics.
    """
    peak = np.abs(audio).max(initial=1e-9)
    factor = np.float32(gain(drive) / peak)
    bent = np.tanh(audio * factor + np.float32(bias)) - np.float32(np.tanh(bias))
    return bent * np.float32(peak / np.abs(bent).max(initial=1e-9))


def brighten(audio: np.ndarray, share: float, frequency: float = 7000.0) -> np.ndarray:
    """Add highs to dull sounds, as engineers do: with a high shelf, then with an exciter for the remainder.

    Args:
        audio: Audio to brighten.
        share: Target level of the highs in dB, relative to the full band; brighter sounds stay as they are.
        frequency: Lower limit of the highs in Hz.
    """
    whole = float((audio**2).mean()) + 1e-12
    missing = share - 10 * np.log10(float((_above(audio, frequency) ** 2).mean()) / whole + 1e-12)
    if missing <= 0:
        return audio
    audio = equalise(audio, [Band("high shelf", 0.8 * frequency, min(missing, _SHELF))])
    if missing <= _SHELF:
        return audio
    source = _above(audio, frequency / 3)
    level = float(np.sqrt((source**2).mean())) + 1e-9
    harmonics = _above(np.tanh(source * np.float32(2 / level)), frequency)
    wanted = np.sqrt(whole * 10 ** ((share - 2) / 10) / (float((harmonics**2).mean()) + 1e-12))
    return audio + harmonics * np.float32(min(wanted, 3 * level))


def _above(audio: np.ndarray, frequency: float) -> np.ndarray:
    """High-pass audio at a frequency in Hz."""
    return sosfilt(butter(5, frequency, "high", fs=RATE, output="sos"), audio).astype(np.float32)


def amplify(audio: np.ndarray, drive: float, rng: np.random.Generator) -> np.ndarray:
    """Play audio through a guitar amplifier and its cabinet.

    Args:
        audio: Audio `[2, length]`, which is mixed down to mono.
        drive: Gain in dB before the tubes.
        rng: Random generator for tone and cabinet.

    Returns:
        Audio `[1, length]`, with peaks near 1.
    """
    mono = audio.mean(axis=0, keepdims=True)
    mono = mono / np.percentile(np.abs(mono), 99.5).clip(1e-6)
    tight = [
        Band("high pass", float(rng.uniform(70, 160))),
        Band("peak", float(rng.uniform(500, 1500)), 5.0, 0.6),
    ]
    doubled = resample_poly(equalise(mono, tight), 2, 1, axis=1)
    bent = np.tanh(doubled * gain(drive) * 0.5 + 0.15) - np.tanh(0.15)
    played = resample_poly(bent, 1, 2, axis=1)[:, : audio.shape[1]].astype(np.float32)
    speaker = [
        Band("high pass", float(rng.uniform(60, 110))),
        Band("peak", float(rng.uniform(90, 180)), float(rng.uniform(0, 5)), 1.0),
        Band("peak", float(rng.uniform(350, 700)), float(rng.uniform(-6, 1)), 0.8),
        Band("peak", float(rng.uniform(2000, 3800)), float(rng.uniform(1, 7)), 1.0),
        Band("low pass", float(rng.uniform(4500, 7500)), q=0.9),
        Band("low pass", float(rng.uniform(5500, 9000))),
    ]
    return equalise(played, speaker)


@dataclass(frozen=True)
class Space:
    """A reverberant space: a room, hall or plate.

    Attributes:
        impulse: Impulse response, float32 `[2, length]`, with unit energy per channel.
    """

    impulse: np.ndarray

    def reverberate(self, audio: np.ndarray) -> np.ndarray:
        """Compute the wet signal alone, cut to the length of the audio."""
        return oaconvolve(audio, self.impulse, axes=-1)[:, : audio.shape[1]].astype(np.float32)


def draw_space(rng: np.random.Generator, seconds: tuple[float, float], delay: tuple[float, float]) -> Space:
    """Draw a space: early reflections, then noise that decays faster at high frequencies, in true stereo.

    Args:
        rng: Random generator for the space.
        seconds: Shortest and longest reverberation time (RT60) at 1 kHz, in seconds.
        delay: Shortest and longest pre-delay in seconds.
    """
    rt60 = float(np.exp(rng.uniform(*np.log(seconds))))
    length = next_fast_len(round(min(rt60 * 1.1, 4.0) * RATE))
    time = np.arange(length) / RATE
    edges = (200, 1000, 4000)
    factors = (rng.uniform(0.9, 1.4), 1.0, rng.uniform(0.6, 0.95), rng.uniform(0.25, 0.6))
    tail = np.zeros((2, length))
    rest = rng.standard_normal((2, length))
    for edge, factor in zip((*edges, None), factors, strict=True):
        band = rest if edge is None else sosfilt(butter(1, edge, fs=RATE, output="sos"), rest)
        rest = rest - band
        tail += band * 10 ** (-3 * time / (rt60 * factor))
    tail = sosfilt(butter(1, rng.uniform(60, 250), "high", fs=RATE, output="sos"), tail)
    tail *= 1 - np.exp(-time / rng.uniform(0.002, 0.02))
    for _ in range(int(rng.integers(4, 14))):
        at = round(rng.uniform(0.003, 0.06) * RATE)
        tail[rng.integers(2), min(at, length - 1)] += rng.uniform(-1, 1) * np.abs(tail).max() * 3
    pre_delay = np.zeros((2, round(rng.uniform(*delay) * RATE)))
    impulse = np.concatenate([pre_delay, tail], axis=1)
    return Space((impulse / np.sqrt((impulse**2).sum() / 2)).astype(np.float32))


def echo(audio: np.ndarray, seconds: float, feedback: float, repeats: int = 5) -> np.ndarray:
    """Compute the echoes of a ping-pong delay alone, each duller than the previous one.

    Args:
        audio: Audio `[2, length]`.
        seconds: Delay time in seconds.
        feedback: Amplitude of each echo relative to the previous one.
        repeats: Number of echoes.
    """
    result = np.zeros_like(audio)
    shift = max(1, round(seconds * RATE))
    wet = audio
    for repeat in range(1, repeats + 1):
        if repeat * shift >= audio.shape[1]:
            break
        wet = equalise(wet[::-1], [Band("low pass", 5000)])
        result[:, repeat * shift :] += wet[:, : -repeat * shift] * np.float32(feedback**repeat)
    return result


def chorus(audio: np.ndarray, rate: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Add a copy with a modulated delay to each side.

    Args:
        audio: Audio `[2, length]`.
        rate: Modulation rate in Hz.
        depth: Difference between the shortest and the longest delay, in seconds.
        rng: Random generator for the phases of the modulation.
    """
    position = np.arange(audio.shape[1], dtype=np.float64)
    wet = np.empty_like(audio)
    for side in range(2):
        phase = rng.uniform(0, 2 * np.pi)
        delay = RATE * (0.012 + depth * (1 + np.sin(2 * np.pi * rate * position / RATE + phase)) / 2)
        wet[side] = np.interp(position - delay, position, audio[side])
    return (0.75 * audio + 0.6 * wet).astype(np.float32)


def place(audio: np.ndarray, pan: float, width: float = 1.0) -> np.ndarray:
    """Place audio in the stereo field.

    Args:
        audio: Audio `[1, length]` or `[2, length]`.
        pan: Position from -1 (left) to 1 (right), at constant power.
        width: Factor on the side signal: 0 makes stereo mono, 1 leaves it as it is.

    Returns:
        Audio `[2, length]`.
    """
    if len(audio) == 1:
        audio = np.repeat(audio, 2, axis=0)
    middle, side = (audio[0] + audio[1]) / 2, (audio[0] - audio[1]) / 2 * np.float32(width)
    angle = (pan + 1) * np.pi / 4
    left, right = np.float32(np.sqrt(2) * np.cos(angle)), np.float32(np.sqrt(2) * np.sin(angle))
    return np.stack([(middle + side) * left, (middle - side) * right])


def loudness(audio: np.ndarray) -> float:
    """Measure gated, integrated loudness of audio `[2, length]` in LUFS (ITU-R BS.1770-4); -120 if silent."""
    weighted = equalise(audio, [Band("high shelf", 1682, 4.0, 0.707), Band("high pass", 38, q=0.5)])
    hop = RATE // 10
    usable = weighted.shape[1] // hop * hop
    if usable < 4 * hop:
        weighted = np.pad(weighted, ((0, 0), (0, 4 * hop - weighted.shape[1] % (4 * hop))))
        usable = weighted.shape[1] // hop * hop
    tenths = (weighted[:, :usable].astype(np.float64) ** 2).reshape(2, -1, hop).mean(axis=2).sum(axis=0)
    power = np.convolve(tenths, np.ones(4) / 4, "valid")
    loud = power[power > 10 ** ((-70 + 0.691) / 10)]
    if not len(loud):
        return _SILENCE
    loud = loud[loud > loud.mean() / 10]
    return float(-0.691 + 10 * np.log10(loud.mean()))
