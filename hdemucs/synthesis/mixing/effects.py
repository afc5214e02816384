"""Studio effects on float32 `[channels, frames]`: equaliser, dynamics, distortion, space, stereo.

Nothing here walks over samples in Python: dynamics work on blocks of frames, and their gain is interpolated.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, oaconvolve, resample_poly, sosfilt

from hdemucs.synthesis.score.notes import RATE

BLOCK = 64
_SILENT = -120.0  # dB


def gain(decibels: float) -> np.float32:
    """Factor of a gain in dB."""
    return np.float32(10 ** (decibels / 20))


@dataclass(frozen=True)
class Band:
    """One band of an equaliser.

    Attributes:
        kind: `peak`, `low shelf`, `high shelf`, `low pass` or `high pass` (12 dB an octave).
        frequency: Hz.
        gain: dB; of no meaning for passes.
        q: width of a peak; for passes 0.7 has no bump.
    """

    kind: str
    frequency: float
    gain: float = 0.0
    q: float = 0.7

    def section(self) -> np.ndarray:
        """Second-order section after the Audio EQ Cookbook of R. Bristow-Johnson."""
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
    """Audio through a chain of bands."""
    sections = [band.section() for band in bands]
    return sosfilt(np.array(sections), audio).astype(np.float32) if sections else audio


def random_tone(rng: np.random.Generator, bands: int, amount: float) -> list[Band]:
    """Broad peaks anywhere, each within `amount` dB: no two instruments are recorded alike."""
    return [
        Band(
            "peak",
            float(np.exp(rng.uniform(np.log(80), np.log(14000)))),
            float(rng.uniform(-amount, amount)),
            0.8,
        )
        for _ in range(bands)
    ]


def _block_levels(audio: np.ndarray) -> np.ndarray:
    """Peak of each block over all channels, in dB."""
    frames = audio.shape[-1]
    padded = np.pad(np.abs(audio).max(axis=0), (0, -frames % BLOCK))
    peaks = padded.reshape(-1, BLOCK).max(axis=1)
    return 20 * np.log10(np.maximum(peaks, 10 ** (_SILENT / 20)))


def _at_frames(blocks: np.ndarray, frames: int) -> np.ndarray:
    """A curve over blocks at every frame, as float32."""
    middles = np.arange(len(blocks)) * BLOCK + BLOCK / 2
    return np.interp(np.arange(frames), middles, blocks).astype(np.float32)


def compressor_gain(
    audio: np.ndarray, threshold: float, ratio: float, attack: float, release: float, knee: float = 6.0
) -> np.ndarray:
    """The gain of a compressor at every frame.

    The level falls by a constant number of dB a second after a peak: in the logarithmic domain a running
    maximum, which numpy has.

    Args:
        audio: what is measured: all channels as one.
        threshold: dB of full scale.
        ratio: 2 to 20.
        attack: seconds in which the gain follows.
        release: seconds in which the level falls by 8.7 dB.
        knee: dB over which compression sets in.
    """
    blocks = RATE / BLOCK
    fall = 8.7 / (release * blocks) * np.arange(-(-audio.shape[-1] // BLOCK))
    level = np.maximum.accumulate(_block_levels(audio) + fall) - fall
    over = level - threshold
    bent = np.where(np.abs(over) < knee / 2, (over + knee / 2) ** 2 / (2 * knee), np.maximum(over, 0))
    pole = np.exp(-1 / max(attack * blocks, 0.1))
    reduction = lfilter([1 - pole], [1, -pole], bent * (1 / ratio - 1))
    return _at_frames(10 ** (reduction / 20), audio.shape[-1])


def compress(audio: np.ndarray, depth: float, ratio: float, attack: float, release: float) -> np.ndarray:
    """A compressor whose threshold lies `depth` dB below the loud passages; the level there is kept."""
    loud = float(np.percentile(_block_levels(audio), 95))
    if loud < -80:
        return audio
    curve = compressor_gain(audio, loud - depth, ratio, attack, release)
    return audio * curve * gain(depth * (1 - 1 / ratio) * 0.7)


def limiter_gain(audio: np.ndarray, ceiling: float, window: float = 0.02) -> np.ndarray:
    """The gain at every frame that keeps all peaks below a ceiling in dB, smooth over `window` seconds."""
    needed = 10 ** (np.minimum(0, ceiling - _block_levels(audio)) / 20)
    size = 2 * max(1, round(window * RATE / BLOCK / 2)) + 1
    smooth = uniform_filter1d(minimum_filter1d(needed, size + 2), size)
    return _at_frames(smooth, audio.shape[-1])


def saturate(audio: np.ndarray, drive: float, bias: float = 0.0) -> np.ndarray:
    """Tape or tube: `drive` in dB over the loudest peak; the peak is kept. `bias` adds even harmonics."""
    peak = np.abs(audio).max(initial=1e-9)
    factor = np.float32(gain(drive) / peak)
    bent = np.tanh(audio * factor + np.float32(bias)) - np.float32(np.tanh(bias))
    return bent * np.float32(peak / np.abs(bent).max(initial=1e-9))


def brighten(audio: np.ndarray, share: float, frequency: float = 7000.0, shelf: float = 9.0) -> np.ndarray:
    """Highs as engineers add them to dull sounds: a shelf, then an exciter's harmonics for what is missing.

    Args:
        share: wanted level of what is above `frequency`, in dB of the whole; brighter sounds stay as is.
        frequency: Hz.
        shelf: the most that the shelf gives, in dB.
    """
    whole = float((audio**2).mean()) + 1e-12
    missing = share - 10 * np.log10(float((_above(audio, frequency) ** 2).mean()) / whole + 1e-12)
    if missing <= 0:
        return audio
    audio = equalise(audio, [Band("high shelf", 0.8 * frequency, min(missing, shelf))])
    if missing <= shelf:
        return audio
    source = _above(audio, frequency / 3)
    level = float(np.sqrt((source**2).mean())) + 1e-9
    harmonics = _above(np.tanh(source * np.float32(2 / level)), frequency)
    wanted = np.sqrt(whole * 10 ** ((share - 2) / 10) / (float((harmonics**2).mean()) + 1e-12))
    return audio + harmonics * np.float32(min(wanted, 3 * level))


def _above(audio: np.ndarray, frequency: float) -> np.ndarray:
    return sosfilt(butter(5, frequency, "high", fs=RATE, output="sos"), audio).astype(np.float32)


def amplify(audio: np.ndarray, drive: float, rng: np.random.Generator) -> np.ndarray:
    """A guitar amplifier and its loudspeaker, mono.

    Args:
        audio: `[2, frames]`; its middle is played.
        drive: gain in dB before the tubes.
        rng: draws tone and loudspeaker.

    Returns:
        `[1, frames]`, peaking near 1.
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
    """A room or a plate: `impulse` is its response `[2, frames]`, of energy 1."""

    impulse: np.ndarray

    def reverberate(self, audio: np.ndarray) -> np.ndarray:
        """What comes back from the space, of the audio's length."""
        return oaconvolve(audio, self.impulse, axes=-1)[:, : audio.shape[1]].astype(np.float32)


def draw_space(rng: np.random.Generator, seconds: tuple[float, float], delay: tuple[float, float]) -> Space:
    """A space: early reflections, then noise that decays faster in the highs, different on either side.

    Args:
        seconds: range of the time in which it dies away by 60 dB, at 1 kHz.
        delay: range of the time until it is first heard, in seconds.
    """
    time60 = float(np.exp(rng.uniform(*np.log(seconds))))
    length = next_fast_len(round(min(time60 * 1.1, 4.0) * RATE))
    time = np.arange(length) / RATE
    edges = (200, 1000, 4000)
    factors = (rng.uniform(0.9, 1.4), 1.0, rng.uniform(0.6, 0.95), rng.uniform(0.25, 0.6))
    tail = np.zeros((2, length))
    rest = rng.standard_normal((2, length))
    for edge, factor in zip((*edges, None), factors, strict=True):
        band = rest if edge is None else sosfilt(butter(1, edge, fs=RATE, output="sos"), rest)
        rest = rest - band
        tail += band * 10 ** (-3 * time / (time60 * factor))
    tail = sosfilt(butter(1, rng.uniform(60, 250), "high", fs=RATE, output="sos"), tail)
    tail *= 1 - np.exp(-time / rng.uniform(0.002, 0.02))
    for _ in range(int(rng.integers(4, 14))):
        at = round(rng.uniform(0.003, 0.06) * RATE)
        tail[rng.integers(2), min(at, length - 1)] += rng.uniform(-1, 1) * np.abs(tail).max() * 3
    silence = np.zeros((2, round(rng.uniform(*delay) * RATE)))
    impulse = np.concatenate([silence, tail], axis=1)
    return Space((impulse / np.sqrt((impulse**2).sum() / 2)).astype(np.float32))


def echo(audio: np.ndarray, seconds: float, feedback: float, repeats: int = 5) -> np.ndarray:
    """The repeats of a delay, from side to side, each duller than the one before."""
    result = np.zeros_like(audio)
    shift = max(1, round(seconds * RATE))
    voice = audio
    for repeat in range(1, repeats + 1):
        if repeat * shift >= audio.shape[1]:
            break
        voice = equalise(voice[::-1], [Band("low pass", 5000)])
        result[:, repeat * shift :] += voice[:, : -repeat * shift] * np.float32(feedback**repeat)
    return result


def chorus(audio: np.ndarray, rate: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Two copies whose delay swings at `rate` Hz by `depth` seconds, one a side, under the sound itself."""
    frames = np.arange(audio.shape[1], dtype=np.float64)
    wet = np.empty_like(audio)
    for side in range(2):
        phase = rng.uniform(0, 2 * np.pi)
        delay = RATE * (0.012 + depth * (1 + np.sin(2 * np.pi * rate * frames / RATE + phase)) / 2)
        wet[side] = np.interp(frames - delay, frames, audio[side])
    return (0.75 * audio + 0.6 * wet).astype(np.float32)


def place(audio: np.ndarray, pan: float, width: float = 1.0) -> np.ndarray:
    """Stereo placement: `pan` from -1 to 1 at constant power, `width` scales the difference of the sides."""
    if len(audio) == 1:
        audio = np.repeat(audio, 2, axis=0)
    middle, side = (audio[0] + audio[1]) / 2, (audio[0] - audio[1]) / 2 * np.float32(width)
    angle = (pan + 1) * np.pi / 4
    left, right = np.float32(np.sqrt(2) * np.cos(angle)), np.float32(np.sqrt(2) * np.sin(angle))
    return np.stack([(middle + side) * left, (middle - side) * right])


def loudness(audio: np.ndarray) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4, gated), of stereo; -120 for silence."""
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
        return _SILENT
    loud = loud[loud > loud.mean() / 10]
    return float(-0.691 + 10 * np.log10(loud.mean()))
