"""Speech cut into syllables that a singer can stretch: pitch, spectral envelope and aperiodicity by frame.

Frames are those of the WORLD vocoder, one every 5 ms, and so is the analysis, by Harvest, CheapTrick and D4C
(Morise, Yokomori, Ozawa: WORLD: a vocoder-based high-quality speech synthesis system for real-time
applications, IEICE Transactions 2016). Envelopes are stored in dB at points evenly spaced on the mel scale;
formants are shifted by reading an envelope at other frequencies.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np
from filelock import FileLock
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks, resample_poly

from hdemucs.errors import SynthesisError, install_extra
from hdemucs.files import cache_folder, write_whole
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.voice.speakers import Clip, Speaker

FRAME_RATE = 200
"""Analysis frames per second: WORLD's default frame period of 5 ms."""

POINTS = 128
"""Number of points of an envelope, 30 mel apart: closer than any formant is wide."""

VERSION = 1
"""Version of the analysis, part of the name of its cached file; to be increased when the analysis changes."""

FLOOR = -120.0  # dB: level of a silent frame
SILENT = 3e-3  # peak to peak, relative to full scale: quieter clips are skipped
CLIP_SECONDS = 6.0  # analysed of each clip; the rest would take time and add few new syllables
VOICE_SECONDS = 60.0  # analysed of all clips of a voice together
PITCHES = 60.0, 620.0  # Hz: range of the pitch of speech, including children's


def mel(frequency: np.ndarray | float) -> np.ndarray:
    """Convert Hz to mel, as in O'Shaughnessy, Speech Communication (1987)."""
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


def hertz(mels: np.ndarray | float) -> np.ndarray:
    """Convert mel to Hz, the inverse of `mel`."""
    return 700.0 * np.expm1(np.asarray(mels) / 1127.0)


GRID = hertz(np.linspace(0.0, float(mel(RATE / 2)), POINTS))
"""Frequency of each point of an envelope in Hz, from 0 to half of `RATE`, `[POINTS]`."""

WIDTHS = np.gradient(GRID) / (RATE / 2)
"""Fraction of the spectrum that each point of an envelope represents, `[POINTS]`; they add up to about 1."""


@dataclass(frozen=True)
class Units:
    """The syllables (units) of one voice, concatenated in the order in which they were spoken.

    Attributes:
        pitch: Pitch in Hz `[frames]`, 0 where unvoiced.
        envelope: Spectral envelope in dB `[frames, POINTS]`; the mean power of the median vowel is 0 dB.
        noise: Aperiodicity, as a fraction of the amplitude, from 0 to 1 `[frames, POINTS]`.
        spans: Frames at which each syllable starts, its vowel starts and ends, and it ends `[units, 4]`.
        clips: Index of the clip that each syllable comes from `[units]`; those of one clip are adjacent.
    """

    pitch: np.ndarray
    envelope: np.ndarray
    noise: np.ndarray
    spans: np.ndarray
    clips: np.ndarray

    @property
    def home(self) -> float:
        """Median pitch of the speech, as a MIDI note number."""
        voiced = self.pitch[self.pitch > 0]
        return float(69 + 12 * np.log2(np.median(voiced) / 440)) if len(voiced) else 57.0

    def __len__(self) -> int:
        return len(self.spans)


def world() -> ModuleType:
    """Import the module of the WORLD vocoder.

    Raises:
        SynthesisError: It is not installed.
    """
    try:
        import pyworld
    except ImportError as error:
        raise SynthesisError(
            f"the WORLD vocoder, which sings, is not installed; {install_extra('synthesis')}"
        ) from error
    return pyworld


@lru_cache(maxsize=64)
def load_units(name: str, speaker: Speaker) -> Units:
    """Load the syllables of a voice from the cache folder, or analyse its speech (10 to 60 s) and cache them.

    Args:
        name: Name of the voice, for errors and the cached file.
        speaker: Source of its speech.

    Raises:
        SynthesisError: The speech cannot be read or synthesised, or contains no syllables.
    """
    digest = hashlib.sha256(f"{VERSION} {speaker.fingerprint()}".encode()).hexdigest()[:16]
    cached = cache_folder("voices") / f"{name}-{digest}.npz"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cached.with_suffix(".lock")):
            if not cached.exists():
                write_whole(cached, _packed(analyse(speaker.clips(), name)))
    with np.load(cached) as arrays:
        return Units(**{field: arrays[field] for field in arrays.files})


def analyse(clips: Iterator[Clip], name: str) -> Units:
    """Cut speech into syllables.

    Args:
        clips: Mono signals with their sample rates. Silent clips and those under 0.1 s are skipped.
        name: Name of the voice, for the error.

    Raises:
        SynthesisError: No syllable was found.
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    seconds = 0.0
    for samples, rate in clips:
        if len(samples) < rate / 10 or np.ptp(samples) < SILENT:
            continue
        samples, rate = _prepare(samples, rate)
        pitch, envelope, noise = _analyse_clip(samples, rate)
        parts.append((pitch, envelope, noise, find_syllables(pitch, envelope)))
        seconds += len(samples) / rate
        if seconds > VOICE_SECONDS:
            break
    if not any(len(spans) for *_, spans in parts):
        raise SynthesisError(f"voice {name}: no syllables found; it needs recordings of clear speech")
    return _concatenate(parts)


def find_syllables(pitch: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    """Find syllables, one around each peak in loudness.

    A consonant between two vowels is assigned to the second: singers end a vowel as late as they can.

    Args:
        pitch: Pitch in Hz `[frames]`, 0 where unvoiced.
        envelope: Spectral envelope in dB `[frames, POINTS]`.

    Returns:
        Frames at which each syllable starts, its vowel starts, its vowel ends, and it ends `[units, 4]`.
    """
    band = (GRID > 200) & (GRID < 4000)
    loudness = uniform_filter1d(10 * np.log10(np.mean(10 ** (envelope[:, band] / 10), axis=1)), 7)
    peaks, _ = find_peaks(np.r_[FLOOR, loudness, FLOOR], prominence=2.5, distance=16)
    peaks = peaks - 1
    peaks = peaks[(pitch[peaks] > 0) & (loudness[peaks] > loudness.max(initial=FLOOR) - 25)]
    spans: list[list[int]] = []
    end = 0
    for index, peak in enumerate(peaks):
        following = int(peaks[index + 1]) if index + 1 < len(peaks) else len(pitch)
        vowel = (pitch > 0) & (loudness > loudness[peak] - 7)
        first, last = _run_around(vowel, int(peak))
        valley = loudness[last:following]
        near = np.flatnonzero(valley < valley.min(initial=np.inf) + 4) if len(valley) else np.array([0])
        start = max(end, first - FRAME_RATE // 4)
        audible = np.flatnonzero(loudness[start:first] > loudness[peak] - 45)
        start = start + int(audible[0]) if len(audible) else first
        end = min(last + int(near[0]) + 1, last + FRAME_RATE // 4, len(pitch))
        if last - first >= 8:
            spans.append([start, first, last, end])
    return np.array(spans, dtype=np.int64).reshape(-1, 4)


def _run_around(mask: np.ndarray, inside: int) -> tuple[int, int]:
    """Find the start and end of the run of true values that contains an index."""
    gaps = np.flatnonzero(~mask)
    before, after = gaps[gaps < inside], gaps[gaps > inside]
    return (int(before[-1]) + 1 if len(before) else 0), (int(after[0]) if len(after) else len(mask))


def _prepare(samples: np.ndarray, rate: int) -> Clip:
    """Truncate a clip, limit its sample rate to `RATE`, remove its DC offset and normalise its peak."""
    samples = np.asarray(samples[: int(CLIP_SECONDS * rate)], dtype=np.float64)
    if rate > RATE:
        samples, rate = resample_poly(samples, RATE, rate), RATE
    samples = samples - samples.mean()
    return samples / np.abs(samples).max(), rate


def _analyse_clip(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute pitch `[frames]`, envelope and aperiodicity `[frames, POINTS]`, extended to the full band."""
    vocoder = world()
    # WORLD divides by spectra: a trace of noise keeps the result finite where the clip is digital silence.
    samples = samples + 1e-5 * np.random.default_rng(0).standard_normal(len(samples))
    low, high = PITCHES
    pitch, times = vocoder.harvest(samples, rate, f0_floor=low, f0_ceil=high)
    power = vocoder.cheaptrick(samples, pitch, times, rate)
    noise = vocoder.d4c(samples, pitch, times, rate)
    frequencies = np.linspace(0, rate / 2, power.shape[1])
    envelope = _interpolate(GRID, frequencies, 10 * np.log10(power))
    noise = _interpolate(GRID, frequencies, noise)
    return (pitch, *extend_band(envelope, noise, pitch > 0, bandwidth(envelope, rate)))


def _interpolate(wanted: np.ndarray, frequencies: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate rows linearly at other frequencies; the last value is held beyond the last frequency."""
    place = np.interp(wanted, frequencies, np.arange(len(frequencies)))
    lower = np.minimum(place.astype(int), len(frequencies) - 2)
    share = place - lower
    return values[:, lower] * (1 - share) + values[:, lower + 1] * share


def bandwidth(envelope: np.ndarray, rate: int) -> float:
    """Estimate the bandwidth of a recording in Hz: near half its sample rate, or the cutoff of a codec.

    A cutoff shows as a fall of the highest level at each frequency by more than 60 dB per octave.

    Args:
        envelope: Spectral envelope in dB `[frames, POINTS]`.
        rate: Sample rate of the recording in Hz.
    """
    loudest = np.percentile(envelope, 95, axis=0)
    limit = min(0.88 * rate / 2, 20000.0)
    below = np.interp(GRID / 1.25, GRID, loudest)
    steep = (GRID > 5000) & (limit > GRID) & (below - loudest > 20)
    return float(GRID[steep][0] / 1.2) if steep.any() else limit


def extend_band(
    envelope: np.ndarray, noise: np.ndarray, voiced: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Extrapolate envelopes above the recorded band, modelled on full-band recordings of speech.

    Vowels fall by 10 dB per octave, fricatives by 7; above 15 kHz, both fall by another 15.

    Args:
        envelope: Spectral envelope in dB `[frames, POINTS]`.
        noise: Aperiodicity from 0 to 1 `[frames, POINTS]`.
        voiced: Whether each frame is voiced `[frames]`.
        cutoff: Bandwidth of the recording in Hz, from `bandwidth`.

    Returns:
        Both, with the points above `cutoff` replaced.
    """
    above = cutoff <= GRID
    if not above.any():
        return envelope, noise
    edge, upper = (0.8 * cutoff < GRID) & ~above, (0.4 * cutoff < GRID) & ~above
    body = 10 * np.log10(np.mean(10 ** (envelope[:, (GRID > 200) & (GRID < 3000)] / 10), axis=1))
    brim = envelope[:, edge].mean(axis=1)
    hiss = np.clip((brim - body + 15) / 20, 0, 1) * np.where(voiced, 0.6, 1.0)
    # A formant or coding noise just below the cutoff must not become a plateau above it in a vowel.
    top = hiss * brim + (1 - hiss) * np.minimum(brim, envelope[:, upper].mean(axis=1) + 3)
    slope = uniform_filter1d(-10 + 3 * hiss, 5)
    octaves = np.log2(GRID[above] / cutoff)
    beyond = np.maximum(0, np.log2(GRID[above] / 15000))
    envelope, noise = envelope.copy(), noise.copy()
    rim = edge.nonzero()[0][-1]
    fade = np.exp(-octaves / 0.1)
    envelope[:, above] = top[:, None] + slope[:, None] * octaves - 15 * beyond
    envelope[:, above] += fade * (envelope[:, rim] - top)[:, None]
    share = np.clip(noise[:, upper].mean(axis=1, keepdims=True), 0.7, 0.85)
    noise[:, above] = np.where(voiced[:, None], share, 1.0)
    return envelope, noise


def _concatenate(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Units:
    """Concatenate the syllables of all clips, with the median vowel of each clip at 0 dB."""
    pitches, envelopes, noises, spans, clips = [], [], [], [], []
    offset = 0
    for clip, (pitch, envelope, noise, found) in enumerate(parts):
        levels = [vowel_level(envelope[first:last]) for _, first, last, _ in found]
        for start, first, last, end in found:
            pitches.append(pitch[start:end])
            envelopes.append(np.maximum(envelope[start:end] - np.median(levels), FLOOR))
            noises.append(noise[start:end])
            spans.append(np.array([0, first - start, last - start, end - start]) + offset)
            clips.append(clip)
            offset += end - start
    return Units(
        pitch=np.concatenate(pitches).astype(np.float32),
        # Rounded to inaudible steps that compress well.
        envelope=(np.round(np.concatenate(envelopes) * 4) / 4).astype(np.float16),
        noise=(np.round(np.concatenate(noises) * 128) / 128).astype(np.float16),
        spans=np.array(spans, dtype=np.int64),
        clips=np.array(clips, dtype=np.int64),
    )


def vowel_level(envelope: np.ndarray) -> float:
    """Compute the mean power over frames and frequency in dB, which determines the waveform's level."""
    return float(10 * np.log10(np.mean(10 ** (envelope.astype(np.float64) / 10) @ WIDTHS)))


def _packed(units: Units) -> bytes:
    """Serialise units for the cached file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **vars(units))
    return buffer.getvalue()
