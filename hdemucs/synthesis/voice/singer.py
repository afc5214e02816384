"""A singer: notes in, a sung, rapped or spoken line out, with the syllables of a voice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfilt

from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.voice.lyrics import Syllable, phrases_of, read_aloud, set_to_notes
from hdemucs.synthesis.voice.manner import Manner, manner_of
from hdemucs.synthesis.voice.pitch import Vibrato, spoken_pitch, sung_pitch
from hdemucs.synthesis.voice.units import FLOOR, FRAMES, GRID, POINTS, WIDTHS, Units, mel, vowel_level, world
from hdemucs.synthesis.voice.voices import Voice

LEVEL = -20.0
"""Level of a line where it sounds, in dB of full scale (root mean square)."""

BREATH_GAP = 0.35  # s: before a phrase after a longer rest, singers breathe
LONGEST_BREATH = 0.45  # s


@dataclass
class _Line:
    """What the vocoder is given, frame by frame; silent where nothing was put.

    Attributes:
        pitch: MIDI numbers, 0 where unvoiced.
        envelope: dB `[frames, POINTS]`.
        noise: aperiodic share `[frames, POINTS]`.
        level: gain in dB.
        effort: 0 for the manner's own, above for louder and brighter.
    """

    pitch: np.ndarray
    envelope: np.ndarray
    noise: np.ndarray
    level: np.ndarray
    effort: np.ndarray

    @classmethod
    def silent(cls, frames: int) -> "_Line":
        envelope, noise = np.full((frames, POINTS), FLOOR), np.ones((frames, POINTS))
        return cls(np.zeros(frames), envelope, noise, np.zeros(frames), np.zeros(frames))


def sing(
    notes: Sequence[Note],
    seconds: float,
    voice: Voice,
    rng: np.random.Generator,
    *,
    style: str | Manner = "sung",
    formants: float = 1.0,
    lyrics: int | None = None,
) -> np.ndarray:
    """Sing a melody.

    Args:
        notes: the melody, one note at a time; of notes that start together the highest is sung, each ends
            where the next starts. Pitches are sung as they are: see `in_range`.
        seconds: length of the result; what lies beyond is left out.
        voice: whose syllables.
        rng: all that varies from take to take.
        style: a name in `MANNERS`, or a manner.
        formants: factor on the frequencies of all formants; 0.85 to 1.2 are other throats.
        lyrics: seed for the choice of syllables, so that takes and choruses can share it; None draws one.

    Returns:
        Mono float32 `[frames]` at RATE, at `LEVEL` where it sounds; silence for no notes.

    Raises:
        TrainingError: the voice's speech cannot be analysed, or the style is unknown.
    """
    manner, units = manner_of(style), voice.units()
    length = round(seconds * RATE)
    words = np.random.default_rng(rng.integers(2**32) if lyrics is None else lyrics)
    line = _Line.silent(round(seconds * FRAMES) + FRAMES // 10)
    vibrato = Vibrato.drawn(manner, rng)
    silent_from = 0
    for phrase in phrases_of(notes, seconds):
        if manner.free:
            syllables = read_aloud(phrase, units, words)
        else:
            syllables = set_to_notes(phrase, units, manner, words)
        _breathe(line, units, silent_from, syllables[0].onset, rng)
        _sing_phrase(line, phrase, syllables, units, manner, vibrato, rng)
        silent_from = syllables[-1].stop
    return _levelled(_voiced(line, manner, formants, rng), line)[:length]


def in_range(notes: Sequence[Note], voice: Voice) -> list[Note]:
    """The notes moved by octaves to a voice's middle: an octave above low speech, half of one above high."""
    if not notes:
        return []
    middle = float(np.median([note.pitch for note in notes]))
    # Speaking at 110 Hz goes with a middle of A3, speaking at 220 Hz with one of F sharp 4.
    comfortable = 57 + 0.75 * (voice.units().home - 45)
    octaves = round((comfortable - middle) / 12)
    return [replace(note, pitch=note.pitch + 12 * octaves) for note in notes]


def _sing_phrase(
    line: _Line,
    phrase: list[Note],
    syllables: list[Syllable],
    units: Units,
    manner: Manner,
    vibrato: Vibrato,
    rng: np.random.Generator,
) -> None:
    """Put a phrase on the line."""
    first, stop = syllables[0].onset, syllables[-1].stop
    here = slice(first, stop)
    melody, sway = sung_pitch(phrase, first, stop - first, manner, vibrato, rng)
    middle = np.median(melody)
    for syllable in syllables:
        path, vowel = _path(syllable, units, rng)
        part = slice(syllable.onset, syllable.stop)
        line.envelope[part], line.noise[part] = units.envelope[path], units.noise[path]
        tune, spoken = melody[syllable.onset - first : syllable.stop - first], units.pitch[path]
        if manner.speech:
            line.pitch[part] = spoken_pitch(tune - middle, spoken, manner.speech)
        else:
            line.pitch[part] = np.where(vowel | (spoken > 0), tune, 0.0)
        _, begin, end, _ = units.spans[syllable.unit]
        # A third of what makes some vowels louder stays.
        line.level[part] = _loudness(syllable.velocity) - 0.67 * vowel_level(units.envelope[begin:end])
        line.effort[part] = syllable.velocity - 0.7
    arch = 2.0 * np.sin(np.pi * np.linspace(0, 1, stop - first) ** 0.8) - 1.5
    line.level[here] = uniform_filter1d(line.level[here], 9) + arch + 1.5 * sway * rng.uniform(-0.5, 1.5)
    edges = [syllable.onset - first for syllable in syllables[1:]]
    line.envelope[here] = _blended(line.envelope[here], edges)
    line.noise[here] = _blended(line.noise[here], edges)
    if not syllables[0].vowel - first:
        _fade(line.level[here], rng)
    for syllable, following in zip(syllables, [*syllables[1:], None], strict=True):
        if following is None or following.onset > syllable.stop:
            _fade(line.level[syllable.onset : syllable.stop][::-1], rng)


def _path(syllable: Syllable, units: Units, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which frame of the voice is heard on each frame of a syllable, and which of them are its vowel.

    Consonants keep their length; a vowel's start and end do too, and its middle wanders to and fro.
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


def _blended(frames: np.ndarray, edges: list[int]) -> np.ndarray:
    """Frames with the jumps between syllables spread over 30 ms, and the steps inside over 15."""
    smooth = uniform_filter1d(frames, 3, axis=0)
    for edge in edges:
        first = max(edge - 8, 0)
        wide = uniform_filter1d(frames[first : edge + 8], 7, axis=0)
        near = slice(max(edge - 4, 0), min(edge + 4, len(frames)))
        smooth[near] = wide[near.start - first : near.stop - first]
    return smooth


def _loudness(velocity: float) -> float:
    """dB of a velocity: 0 at 0.8, 12 less at 0."""
    return 15 * (velocity - 0.8)


def _fade(level: np.ndarray, rng: np.random.Generator) -> None:
    """Let a sound come, or backwards die away, over 40 to 120 ms, in place."""
    frames = min(int(rng.uniform(0.04, 0.12) * FRAMES), len(level))
    level[:frames] -= 30 * np.linspace(1, 0, frames) ** 2


def _breathe(line: _Line, units: Units, silent_from: int, onset: int, rng: np.random.Generator) -> None:
    """Breathe in before a phrase, if there is time and the singer's breath is heard."""
    gap = onset - silent_from
    drawn, seconds, loudness = rng.uniform(), rng.uniform(0.16, LONGEST_BREATH), rng.uniform(-36, -22)
    if gap < BREATH_GAP * FRAMES or drawn > 0.7:
        return
    frames = int(min(seconds * FRAMES, 0.7 * gap))
    stop = onset - int(rng.uniform(0.02, 0.06) * FRAMES)
    start = max(silent_from, stop - frames)
    vowels = np.concatenate([units.envelope[a:b:4] for _, a, b, _ in units.spans[::4]])
    # Air drawn in excites the throat at its middle: formants show, blurred, around 1 to 5 kHz.
    breath = 0.4 * uniform_filter1d(vowels.mean(axis=0, dtype=np.float64), 7)
    breath -= 8 * np.abs(np.log2(np.maximum(GRID, 60) / rng.uniform(1500, 3000)))
    breath += loudness - vowel_level(breath[None])
    line.envelope[start:stop] = breath
    rise = np.linspace(0, 1, stop - start)
    swell = np.minimum(rise / 0.6, (1 - rise) / 0.15)
    line.level[start:stop] = 20 * np.log10(np.clip(swell, 0.03, 1))


def _voiced(line: _Line, manner: Manner, formants: float, rng: np.random.Generator) -> np.ndarray:
    """The waveform of a line, by WORLD."""
    vocoder = world()
    size = vocoder.get_cheaptrick_fft_size(RATE, 71.0)
    frequencies = np.linspace(0, RATE / 2, size // 2 + 1)
    octaves = np.clip(np.log2(np.maximum(GRID, 1) / 500), 0, 3)
    bump = np.exp(-((np.log2(np.maximum(GRID, 1) / 3000) / 0.4) ** 2))
    effort = line.effort[:, None]
    tilt = manner.effort + 5 * effort
    voiced = line.pitch > 0
    colour = tilt * (octaves - 1) + (manner.ring + 6 * effort) * bump
    coloured = line.envelope + colour * uniform_filter1d(voiced.astype(float), 5)[:, None]
    level = line.level + uniform_filter1d(_power(line.envelope) - _power(coloured), 9)
    envelope = coloured + level[:, None]
    power = 10 ** (_read(envelope, frequencies / formants) / 10)
    breath = manner.breath ** rng.uniform(0.75, 1.4)
    # A pressed voice is clearer than speech; breath begins above the first harmonics.
    noise = _read(line.noise, frequencies / formants) ** (1 + 0.25 * max(manner.effort, 0))
    noise = np.where(voiced[:, None], noise + breath * np.clip(frequencies / 1500, breath, 1), 1.0)
    noise = np.clip(noise, 1e-4, 0.9999)
    pitch = np.where(voiced, 440 * 2 ** ((line.pitch - 69) / 12), 0.0)
    power, noise = np.ascontiguousarray(np.maximum(power, 1e-14)), np.ascontiguousarray(noise)
    wave = vocoder.synthesize(pitch, power, noise, RATE)
    # Below the voice there is only what the vocoder adds.
    wave = sosfilt(butter(2, 60, "highpass", fs=RATE, output="sos"), wave)
    return _growl(wave, pitch, manner.rough, rng) if manner.rough else wave


def _read(rows: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Rows on `GRID` at other frequencies."""
    place = np.clip(mel(frequencies) / mel(RATE / 2) * (POINTS - 1), 0, POINTS - 1)
    lower = np.minimum(place.astype(int), POINTS - 2)
    share = place - lower
    return rows[:, lower] * (1 - share) + rows[:, lower + 1] * share


def _power(envelope: np.ndarray) -> np.ndarray:
    """Level of every frame in dB."""
    return 10 * np.log10(10 ** (envelope / 10) @ WIDTHS)


def _growl(wave: np.ndarray, pitch: np.ndarray, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Every other period weaker, unsteadily: the false vocal folds at half the pitch."""
    times = np.arange(len(wave)) * FRAMES / RATE
    cycles = np.cumsum(np.interp(times, np.arange(len(pitch)), pitch)) / RATE
    frames = np.arange(0, len(pitch), 20)
    amount = np.interp(times, frames, np.clip(rng.normal(depth, 0.3 * depth, len(frames)), 0, 0.95))
    return wave * (1 - amount * (0.5 + 0.5 * np.cos(np.pi * cycles)))


def _levelled(wave: np.ndarray, line: _Line) -> np.ndarray:
    """The waveform at `LEVEL` over its voiced frames, never above full scale."""
    frames = np.minimum(np.arange(len(wave)) * FRAMES // RATE, len(line.pitch) - 1)
    sounding = line.pitch[frames] > 0
    power = np.mean(wave[sounding] ** 2) if sounding.any() else 0.0
    if not power:
        return np.zeros(len(wave), dtype=np.float32)
    wave = wave * 10 ** (LEVEL / 20) / np.sqrt(power)
    return (wave / max(1.0, np.abs(wave).max())).astype(np.float32)
