"""The singer: renders notes as a sung, rapped or spoken line with the syllables of a voice.

Up to the vocoder, WORLD, times are in its analysis frames of 5 ms (`FRAME_RATE`); after it, in samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfilt

from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.voice.lyrics import Syllable, phrases_of, read_aloud, set_to_notes
from hdemucs.synthesis.voice.pitch import Vibrato, spoken_pitch, sung_pitch
from hdemucs.synthesis.voice.styles import SingingStyle, singing_style
from hdemucs.synthesis.voice.units import (
    FLOOR,
    FRAME_RATE,
    GRID,
    POINTS,
    WIDTHS,
    Units,
    mel,
    vowel_level,
    world,
)
from hdemucs.synthesis.voice.voices import Voice

LEVEL = -20.0
"""RMS level of a line where it is voiced, in dB relative to full scale."""

BREATH_GAP = 0.35  # seconds: after a longer rest, singers breathe in before a phrase
LONGEST_BREATH = 0.45  # seconds: maximum duration of a breath


@dataclass
class _Line:
    """Input of the vocoder, frame by frame.

    Attributes:
        pitch: Pitch as a MIDI note number `[frames]`, 0 where unvoiced.
        envelope: Spectral envelope in dB `[frames, POINTS]`.
        noise: Aperiodicity from 0 to 1 `[frames, POINTS]`.
        level: Gain in dB `[frames]`.
        effort: Vocal effort relative to that of the style `[frames]`; positive is brighter.
    """

    pitch: np.ndarray
    envelope: np.ndarray
    noise: np.ndarray
    level: np.ndarray
    effort: np.ndarray

    @classmethod
    def silent(cls, frames: int) -> "_Line":
        """Create a line without any sound."""
        envelope, noise = np.full((frames, POINTS), FLOOR), np.ones((frames, POINTS))
        return cls(np.zeros(frames), envelope, noise, np.zeros(frames), np.zeros(frames))


def sing(
    notes: Sequence[Note],
    seconds: float,
    voice: Voice,
    rng: np.random.Generator,
    *,
    style: str | SingingStyle = "sung",
    formants: float = 1.0,
    lyrics: int | None = None,
) -> np.ndarray:
    """Sing a melody.

    Args:
        notes: Melody. If notes start together, the highest is sung; each note ends where the next starts.
            Pitches are not moved into the voice's range; see `in_range`.
        seconds: Duration of the result in seconds. Notes that start before 0 or after the end are skipped.
        voice: Voice that provides the syllables.
        rng: Random generator for everything that varies from take to take.
        style: Style of singing, or its name in `SINGING_STYLES`.
        formants: Factor on the frequencies of all formants; 0.85 to 1.2 give plausible vocal tracts.
        lyrics: Seed of the syllables, with which takes or choruses can share the same words; None draws one.

    Returns:
        Float32 `[length]` at `RATE`, with a level of `LEVEL`; silence if there are no notes.

    Raises:
        SynthesisError: The voice's speech cannot be analysed, or the style is unknown.
    """
    style, units = singing_style(style), voice.units()
    length = round(seconds * RATE)
    words = np.random.default_rng(rng.integers(2**32) if lyrics is None else lyrics)
    line = _Line.silent(round(seconds * FRAME_RATE) + FRAME_RATE // 10)
    vibrato = Vibrato.drawn(style, rng)
    silent_from = 0
    for phrase in phrases_of(notes, seconds):
        if style.free:
            syllables = read_aloud(phrase, units, words)
        else:
            syllables = set_to_notes(phrase, units, style, words)
        _breathe(line, units, silent_from, syllables[0].onset, rng)
        _sing_phrase(line, phrase, syllables, units, style, vibrato, rng)
        silent_from = syllables[-1].stop
    return _at_level(_synthesise(line, style, formants, rng), line)[:length]


def in_range(notes: Sequence[Note], voice: Voice) -> list[Note]:
    """Transpose a melody by octaves to suit a voice: an octave above low speech, half that above high."""
    if not notes:
        return []
    middle = float(np.median([note.pitch for note in notes]))
    # A voice that speaks at 110 Hz sings around A3, one that speaks at 220 Hz around F sharp 4.
    comfortable = 57 + 0.75 * (voice.home - 45)
    octaves = round((comfortable - middle) / 12)
    return [replace(note, pitch=note.pitch + 12 * octaves) for note in notes]


def _sing_phrase(
    line: _Line,
    phrase: list[Note],
    syllables: list[Syllable],
    units: Units,
    style: SingingStyle,
    vibrato: Vibrato,
    rng: np.random.Generator,
) -> None:
    """Write a phrase to the line, in place."""
    first, stop = syllables[0].onset, syllables[-1].stop
    here = slice(first, stop)
    melody, sway = sung_pitch(phrase, first, stop - first, style, vibrato, rng)
    middle = np.median(melody)
    for syllable in syllables:
        path, vowel = _path(syllable, units, rng)
        part = slice(syllable.onset, syllable.stop)
        line.envelope[part], line.noise[part] = units.envelope[path], units.noise[path]
        tune, spoken = melody[syllable.onset - first : syllable.stop - first], units.pitch[path]
        if style.speech:
            line.pitch[part] = spoken_pitch(tune - middle, spoken, style.speech)
        else:
            line.pitch[part] = np.where(vowel | (spoken > 0), tune, 0.0)
        _, begin, end, _ = units.spans[syllable.unit]
        # Remove two thirds of the differences in level between vowels.
        line.level[part] = _loudness(syllable.velocity) - 0.67 * vowel_level(units.envelope[begin:end])
        line.effort[part] = syllable.velocity - 0.7
    arch = 2.0 * np.sin(np.pi * np.linspace(0, 1, stop - first) ** 0.8) - 1.5
    line.level[here] = uniform_filter1d(line.level[here], 9) + arch + 1.5 * sway * rng.uniform(-0.5, 1.5)
    edges = [syllable.onset - first for syllable in syllables[1:]]
    line.envelope[here] = _smooth_joins(line.envelope[here], edges)
    line.noise[here] = _smooth_joins(line.noise[here], edges)
    if not syllables[0].vowel - first:
        _fade(line.level[here], rng)
    for syllable, following in zip(syllables, [*syllables[1:], None], strict=True):
        if following is None or following.onset > syllable.stop:
            _fade(line.level[syllable.onset : syllable.stop][::-1], rng)


def _path(syllable: Syllable, units: Units, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Time-stretch a syllable.

    Consonants and both ends of a vowel keep their length; the middle of the vowel wanders back and forth.

    Returns:
        Frame of the voice for each frame of the syllable, and whether it is in the vowel, both `[frames]`.
    """
    start, first, last, end = (int(edge) for edge in units.spans[syllable.unit])
    edges = (syllable.onset, syllable.vowel, syllable.coda, syllable.stop)
    before, held, after = (b - a for a, b in pairwise(edges))
    onset = np.arange(first - before, first) if before <= first - start else np.linspace(start, first, before)
    natural = last - first
    if held <= 1.3 * natural:
        vowel = np.linspace(first, last - 1, held)
    else:
        quarter = max(1, natural // 4)
        middle = held - 2 * quarter
        swing = np.sin(np.linspace(0, np.pi, middle)) * np.cumsum(rng.standard_normal(middle)) / 8
        wander = np.linspace(first + quarter, last - 1 - quarter, middle) + swing
        wander = uniform_filter1d(np.clip(wander, first + quarter, last - 1 - quarter), 9)
        vowel = np.r_[first + np.arange(quarter), wander, last - quarter + np.arange(quarter)]
    coda = last + np.arange(after) * (max(end - last, 1) / max(after, 1))
    path = np.clip(np.rint(np.r_[onset, vowel, coda]).astype(np.int64), start, end - 1)
    return path, np.r_[np.zeros(before, bool), np.ones(held, bool), np.zeros(after, bool)]


def _smooth_joins(frames: np.ndarray, edges: list[int]) -> np.ndarray:
    """Smooth frames `[frames, POINTS]` over 35 ms where syllables meet and over 15 ms elsewhere."""
    smooth = uniform_filter1d(frames, 3, axis=0)
    for edge in edges:
        first = max(edge - 8, 0)
        wide = uniform_filter1d(frames[first : edge + 8], 7, axis=0)
        near = slice(max(edge - 4, 0), min(edge + 4, len(frames)))
        smooth[near] = wide[near.start - first : near.stop - first]
    return smooth


def _loudness(velocity: float) -> float:
    """Convert a velocity to a level in dB: 0 at 0.8, -12 at 0."""
    return 15 * (velocity - 0.8)


def _fade(level: np.ndarray, rng: np.random.Generator) -> None:
    """Fade in over 40 to 120 ms, in place; a reversed view fades out."""
    frames = min(int(rng.uniform(0.04, 0.12) * FRAME_RATE), len(level))
    level[:frames] -= 30 * np.linspace(1, 0, frames) ** 2


def _breathe(line: _Line, units: Units, silent_from: int, onset: int, rng: np.random.Generator) -> None:
    """Write an audible breath before most phrases that follow a long enough rest, in place."""
    gap = onset - silent_from
    drawn, seconds, loudness = rng.uniform(), rng.uniform(0.16, LONGEST_BREATH), rng.uniform(-36, -22)
    if gap < BREATH_GAP * FRAME_RATE or drawn > 0.7:
        return
    frames = int(min(seconds * FRAME_RATE, 0.7 * gap))
    stop = onset - int(rng.uniform(0.02, 0.06) * FRAME_RATE)
    start = max(silent_from, stop - frames)
    vowels = np.concatenate([units.envelope[a:b:4] for _, a, b, _ in units.spans[::4]])
    # Breathing in excites the vocal tract around 1 to 5 kHz, where blurred formants show.
    breath = 0.4 * uniform_filter1d(vowels.mean(axis=0, dtype=np.float64), 7)
    breath -= 8 * np.abs(np.log2(np.maximum(GRID, 60) / rng.uniform(1500, 3000)))
    breath += loudness - vowel_level(breath[None])
    line.envelope[start:stop] = breath
    rise = np.linspace(0, 1, stop - start)
    swell = np.minimum(rise / 0.6, (1 - rise) / 0.15)
    line.level[start:stop] = 20 * np.log10(np.clip(swell, 0.03, 1))


def _synthesise(line: _Line, style: SingingStyle, formants: float, rng: np.random.Generator) -> np.ndarray:
    """Render the waveform of a line, float64 `[length]`."""
    vocoder = world()
    size = vocoder.get_cheaptrick_fft_size(RATE, 71.0)
    frequencies = np.linspace(0, RATE / 2, size // 2 + 1)
    octaves = np.clip(np.log2(np.maximum(GRID, 1) / 500), 0, 3)
    bump = np.exp(-((np.log2(np.maximum(GRID, 1) / 3000) / 0.4) ** 2))
    effort = line.effort[:, None]
    tilt = style.effort + 5 * effort
    voiced = line.pitch > 0
    colour = tilt * (octaves - 1) + (style.ring + 6 * effort) * bump
    coloured = line.envelope + colour * uniform_filter1d(voiced.astype(float), 5)[:, None]
    level = line.level + uniform_filter1d(_power(line.envelope) - _power(coloured), 9)
    envelope = coloured + level[:, None]
    power = 10 ** (_at_frequencies(envelope, frequencies / formants) / 10)
    breath = style.breath ** rng.uniform(0.75, 1.4)
    # A pressed voice is less noisy than speech; breath noise starts above the first harmonics.
    noise = _at_frequencies(line.noise, frequencies / formants) ** (1 + 0.25 * max(style.effort, 0))
    noise = np.where(voiced[:, None], noise + breath * np.clip(frequencies / 1500, breath, 1), 1.0)
    noise = np.clip(noise, 1e-4, 0.9999)
    pitch = np.where(voiced, 440 * 2 ** ((line.pitch - 69) / 12), 0.0)
    power, noise = np.ascontiguousarray(np.maximum(power, 1e-14)), np.ascontiguousarray(noise)
    wave = vocoder.synthesize(pitch, power, noise, RATE)
    # Below the voice there are only artefacts of the vocoder.
    wave = sosfilt(butter(2, 60, "highpass", fs=RATE, output="sos"), wave)
    return _growl(wave, pitch, style.rough, rng) if style.rough else wave


def _at_frequencies(rows: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Interpolate rows on `GRID` `[frames, POINTS]` at other frequencies in Hz."""
    place = np.clip(mel(frequencies) / mel(RATE / 2) * (POINTS - 1), 0, POINTS - 1)
    lower = np.minimum(place.astype(int), POINTS - 2)
    share = place - lower
    return rows[:, lower] * (1 - share) + rows[:, lower + 1] * share


def _power(envelope: np.ndarray) -> np.ndarray:
    """Level of each frame of an envelope in dB `[frames]`."""
    return 10 * np.log10(10 ** (envelope / 10) @ WIDTHS)


def _growl(wave: np.ndarray, pitch: np.ndarray, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Attenuate every other period, unsteadily, like false vocal folds vibrating at half the pitch."""
    frames = np.arange(len(wave)) * FRAME_RATE / RATE
    cycles = np.cumsum(np.interp(frames, np.arange(len(pitch)), pitch)) / RATE
    knots = np.arange(0, len(pitch), 20)
    amount = np.interp(frames, knots, np.clip(rng.normal(depth, 0.3 * depth, len(knots)), 0, 0.95))
    return wave * (1 - amount * (0.5 + 0.5 * np.cos(np.pi * cycles)))


def _at_level(wave: np.ndarray, line: _Line) -> np.ndarray:
    """Scale to `LEVEL` over voiced frames, or less if that would clip; float32 `[length]`."""
    frames = np.minimum(np.arange(len(wave)) * FRAME_RATE // RATE, len(line.pitch) - 1)
    sounding = line.pitch[frames] > 0
    power = np.mean(wave[sounding] ** 2) if sounding.any() else 0.0
    if not power:
        return np.zeros(len(wave), dtype=np.float32)
    wave = wave * 10 ** (LEVEL / 20) / np.sqrt(power)
    return (wave / max(1.0, np.abs(wave).max())).astype(np.float32)
