"""Speech cut into syllables that a singer can stretch: envelopes, aperiodicity and pitch, 200 times a second.

The analysis is WORLD's (Morise, Yokomori, Ozawa: WORLD: a vocoder-based high-quality speech synthesis system
for real-time applications, IEICE Transactions 2016): harvest, cheaptrick, d4c. Envelopes are kept as dB at
points that are even on the mel scale, so that moving formants is reading them at other frequencies.
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

from hdemucs.errors import TrainingError
from hdemucs.files import cache_folder, write_whole
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.voice.recipes import Clip, Recipe, Recordings

FRAMES = 200
"""Frames a second: WORLD's default period of 5 ms."""

POINTS = 128
"""Points of an envelope; 30 mel apart, finer than any formant is wide."""

VERSION = 1
"""Part of the name of a cached analysis: raised when the analysis changes."""

FLOOR = -120.0  # dB: what a silent frame holds
SILENT = 3e-3  # peak to peak, of full scale
CLIP_SECONDS = 6.0  # of one recording; the rest adds time, hardly any syllables that are new
VOICE_SECONDS = 60.0  # of all recordings of one voice
PITCHES = 60.0, 620.0  # Hz: pitch of speech, children's included


def mel(frequency: np.ndarray | float) -> np.ndarray:
    """Mel of Hz, as in O'Shaughnessy, Speech Communication (1987)."""
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


def hertz(mels: np.ndarray | float) -> np.ndarray:
    """The inverse of `mel`."""
    return 700.0 * np.expm1(np.asarray(mels) / 1127.0)


GRID = hertz(np.linspace(0.0, float(mel(RATE / 2)), POINTS))
"""Frequencies of an envelope's points in Hz, from 0 to half of RATE."""

WIDTHS = np.gradient(GRID) / (RATE / 2)
"""The share of the spectrum that each point stands for."""


@dataclass(frozen=True)
class Units:
    """The syllables of one voice, back to back in the order in which they were spoken.

    Attributes:
        pitch: Hz `[frames]`, 0 where unvoiced.
        envelope: power in dB `[frames, POINTS]`; the median vowel has a mean power of 0 dB.
        noise: aperiodic share of the amplitude from 0 to 1 `[frames, POINTS]`.
        spans: frames at which `[units, 4]` a syllable starts, its vowel starts, its vowel ends, it ends.
        clips: which recording `[units]` a syllable is from: syllables of one follow each other.
    """

    pitch: np.ndarray
    envelope: np.ndarray
    noise: np.ndarray
    spans: np.ndarray
    clips: np.ndarray

    @property
    def home(self) -> float:
        """Median pitch of the speech as a MIDI number."""
        voiced = self.pitch[self.pitch > 0]
        return float(69 + 12 * np.log2(np.median(voiced) / 440)) if len(voiced) else 57.0

    def __len__(self) -> int:
        return len(self.spans)


def world() -> ModuleType:
    """The WORLD vocoder.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import pyworld
    except ImportError as error:
        raise TrainingError("the singer needs the WORLD vocoder: pip install 'hdemucs[synthesis]'") from error
    return pyworld


@lru_cache(maxsize=64)
def load_units(name: str, recipe: Recipe) -> Units:
    """The syllables of a voice, from the user's cache folder, or analysed (10 to 60 s) and put there.

    Args:
        name: of the voice, for errors and the cached file.
        recipe: where its speech comes from.

    Raises:
        TrainingError: its speech cannot be had, or has no syllables in it.
    """
    depends = recipe.fingerprint() if isinstance(recipe, Recordings) else repr(recipe)
    digest = hashlib.sha256(f"{VERSION} {depends}".encode()).hexdigest()[:16]
    cached = cache_folder("voices") / f"{name}-{digest}.npz"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cached.with_suffix(".lock")):
            if not cached.exists():
                write_whole(cached, _packed(analyse(recipe.clips(), name)))
    with np.load(cached) as arrays:
        return Units(**{field: arrays[field] for field in arrays.files})


def analyse(clips: Iterator[Clip], name: str) -> Units:
    """Cut speech into syllables.

    Args:
        clips: mono signals with their sample rates; silence and what is shorter than 0.1 s is passed over.
        name: of the voice, for the error.

    Raises:
        TrainingError: no syllable was found.
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    seconds = 0.0
    for samples, rate in clips:
        if len(samples) < rate / 10 or np.ptp(samples) < SILENT:
            continue
        samples, rate = _prepared(samples, rate)
        pitch, envelope, noise = _described(samples, rate)
        parts.append((pitch, envelope, noise, syllables(pitch, envelope)))
        seconds += len(samples) / rate
        if seconds > VOICE_SECONDS:
            break
    if not any(len(spans) for *_, spans in parts):
        raise TrainingError(f"{name}: no syllables found in its speech; give it recordings of clear speech")
    return _joined(parts)


def syllables(pitch: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    """Frames `[units, 4]` of syllables (start, vowel, end of vowel, end): one around every peak of loudness.

    A consonant between two vowels belongs to the second: singers end a vowel as late as they can.
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
        first, last = _run(vowel, int(peak))
        valley = loudness[last:following]
        near = np.flatnonzero(valley < valley.min(initial=np.inf) + 4) if len(valley) else np.array([0])
        start = max(end, first - FRAMES // 4)
        audible = np.flatnonzero(loudness[start:first] > loudness[peak] - 45)
        start = start + int(audible[0]) if len(audible) else first
        end = min(last + int(near[0]) + 1, last + FRAMES // 4, len(pitch))
        if last - first >= 8:
            spans.append([start, first, last, end])
    return np.array(spans, dtype=np.int64).reshape(-1, 4)


def _run(mask: np.ndarray, inside: int) -> tuple[int, int]:
    """The stretch of true values around an index, as a slice."""
    gaps = np.flatnonzero(~mask)
    before, after = gaps[gaps < inside], gaps[gaps > inside]
    return (int(before[-1]) + 1 if len(before) else 0), (int(after[0]) if len(after) else len(mask))


def _prepared(samples: np.ndarray, rate: int) -> Clip:
    samples = np.asarray(samples[: int(CLIP_SECONDS * rate)], dtype=np.float64)
    if rate > RATE:
        samples, rate = resample_poly(samples, RATE, rate), RATE
    samples = samples - samples.mean()
    return samples / np.abs(samples).max(), rate


def _described(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitch, envelope and noise of a clip, the last two on `GRID`, extended to its end."""
    vocoder = world()
    # WORLD divides by spectra: a trace of noise keeps digital silence finite.
    samples = samples + 1e-5 * np.random.default_rng(0).standard_normal(len(samples))
    low, high = PITCHES
    pitch, times = vocoder.harvest(samples, rate, f0_floor=low, f0_ceil=high)
    power = vocoder.cheaptrick(samples, pitch, times, rate)
    noise = vocoder.d4c(samples, pitch, times, rate)
    frequencies = np.linspace(0, rate / 2, power.shape[1])
    envelope = _at(GRID, frequencies, 10 * np.log10(power))
    noise = _at(GRID, frequencies, noise)
    return (pitch, *extend(envelope, noise, pitch > 0, bandwidth(envelope, rate)))


def _at(wanted: np.ndarray, frequencies: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rows of `values` at other frequencies; beyond the last frequency its value goes on."""
    place = np.interp(wanted, frequencies, np.arange(len(frequencies)))
    lower = np.minimum(place.astype(int), len(frequencies) - 2)
    share = place - lower
    return values[:, lower] * (1 - share) + values[:, lower + 1] * share


def bandwidth(envelope: np.ndarray, rate: int) -> float:
    """Highest frequency in Hz that a recording has anything at: half its rate, or where a codec cut it off.

    A cut shows as a fall of the loudest at each frequency that is steeper than 60 dB an octave.
    """
    loudest = np.percentile(envelope, 95, axis=0)
    limit = min(0.88 * rate / 2, 20000.0)
    below = np.interp(GRID / 1.25, GRID, loudest)
    steep = (GRID > 5000) & (limit > GRID) & (below - loudest > 20)
    return float(GRID[steep][0] / 1.2) if steep.any() else limit


def extend(
    envelope: np.ndarray, noise: np.ndarray, voiced: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Continue envelopes above what was recorded, as full-band recordings of speech go on there.

    Vowels fall by 10 dB an octave, hiss by 7; above 15 kHz both fall by another 15.

    Args:
        envelope, noise: `[frames, POINTS]`.
        voiced: `[frames]`.
        cutoff: in Hz, from `bandwidth`.
    """
    above = cutoff <= GRID
    if not above.any():
        return envelope, noise
    edge, upper = (0.8 * cutoff < GRID) & ~above, (0.4 * cutoff < GRID) & ~above
    body = 10 * np.log10(np.mean(10 ** (envelope[:, (GRID > 200) & (GRID < 3000)] / 10), axis=1))
    brim = envelope[:, edge].mean(axis=1)
    hiss = np.clip((brim - body + 15) / 20, 0, 1) * np.where(voiced, 0.6, 1.0)
    # A formant, or a codec's noise, just below the edge of a vowel must not become a plateau above it.
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


def _joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Units:
    """All syllables back to back, each loud in its vowel as the median of its recording."""
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
        # Steps that nobody hears, and that pack well.
        envelope=(np.round(np.concatenate(envelopes) * 4) / 4).astype(np.float16),
        noise=(np.round(np.concatenate(noises) * 128) / 128).astype(np.float16),
        spans=np.array(spans, dtype=np.int64),
        clips=np.array(clips, dtype=np.int64),
    )


def vowel_level(envelope: np.ndarray) -> float:
    """Mean power over frames and Hz in dB: what the waveform's level follows."""
    return float(10 * np.log10(np.mean(10 ** (envelope.astype(np.float64) / 10) @ WIDTHS)))


def _packed(units: Units) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **vars(units))
    return buffer.getvalue()
