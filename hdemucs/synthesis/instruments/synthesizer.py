"""Synthesisers: subtractive and FM patches with parameters drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfilt

from hdemucs.synthesis.instruments.base import silence
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound

_TABLE = 4096  # samples per cycle: without interpolation, the error is near -70 dB
_LOWEST_OCTAVE = 2  # lower MIDI octaves share its wavetable


@dataclass(frozen=True)
class PatchPreset:
    """A kind of synthesiser patch.

    Attributes:
        kind: Key of `PATCHES`.
    """

    kind: str
    in_held_out = True

    def draw(self, sounds: Sequence[Sound], rng: np.random.Generator) -> "Patch":
        """Draw a patch of this kind from the ranges in `PATCHES`; `sounds` are not used."""
        waves, ranges = PATCHES[self.kind]
        drawn: dict[str, float] = {}
        for name, (low, high) in ranges.items():
            logarithmic = name in ("cutoff", "attack", "decay", "release", "sweep")
            drawn[name] = float(
                np.exp(rng.uniform(np.log(low), np.log(high))) if logarithmic else rng.uniform(low, high)
            )
        unison = round(drawn.pop("unison", 1.0))
        ratio = float(rng.choice([1, 2, 3, 4, 7, 14])) if "index" in drawn else 1.0
        return Patch(f"patch {self.kind}", wave=str(rng.choice(waves)), unison=unison, ratio=ratio, **drawn)


def patches(*kinds: str) -> tuple[PatchPreset, ...]:
    """Presets for kinds of patches, for a row of `FAMILIES`."""
    return tuple(PatchPreset(kind) for kind in kinds)


@dataclass(frozen=True)
class Patch:
    """A synthesiser with all its knobs set.

    Attributes:
        label: Kind, for a song's description.
        wave: Waveform: `saw`, `square`, `pulse`, `triangle`, `sine` or `organ`; `fm` for two sine operators.
        unison: Number of detuned oscillators.
        detune: Detuning of the outermost oscillators, in cents up and down.
        width: Stereo width of the oscillators, from 0 to 1.
        sub: Amplitude of a sine one octave below.
        attack: Rise time of the amplitude envelope, in seconds.
        decay: Time constant of the decay to the sustain level, in seconds.
        sustain: Level of a held note, from 0 to 1.
        release: Time constant of the decay after the end of a note, in seconds.
        cutoff: Frequency in Hz at which the low-pass filter's envelope ends.
        opening: Octaves above `cutoff` at which that envelope starts.
        sweep: Time constant of that envelope, or of the modulation index for FM, in seconds.
        index: Modulation index of FM.
        ratio: Modulator frequency of FM, as a multiple of the carrier's.
    """

    label: str
    wave: str
    unison: int = 1
    detune: float = 0.0
    width: float = 0.0
    sub: float = 0.0
    attack: float = 0.004
    decay: float = 0.5
    sustain: float = 0.7
    release: float = 0.08
    cutoff: float = 4000.0
    opening: float = 0.0
    sweep: float = 0.3
    index: float = 0.0
    ratio: float = 1.0

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Render notes; see `Player.play`. Oscillators start at random phases."""
        # A time-varying low-pass is approximated by crossfading each note from the input of a fixed open
        # filter to that of a fixed closed one.
        opened, closed = silence(seconds), silence(seconds)
        total = closed.shape[1]
        for note in notes:
            start = round(note.start * RATE)
            if not 0 <= start < total:
                continue
            length = min(round((note.duration + 4 * self.release) * RATE), total - start)
            time = np.arange(length, dtype=np.float32) / RATE
            sound = _oscillate(self, note.pitch, time, rng) * (
                _envelope(self, note.duration, time) * note.velocity
            )
            if self.opening:
                openness = np.exp(-time / self.sweep) * (0.4 + 0.6 * note.velocity)
                opened[:, start : start + length] += sound * openness
                sound = sound * (1 - openness)
            closed[:, start : start + length] += sound
        audio = _low_pass(closed, self.cutoff)
        if self.opening:
            audio += _low_pass(opened, self.cutoff * 2**self.opening)
        return audio


def _oscillate(patch: Patch, pitch: float, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Generate an unfiltered tone, float32 `[2, length]`, at times in seconds `[length]`."""
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    if patch.wave == "fm":
        phase = 2 * np.pi * frequency * time
        bell = np.exp(-time / patch.sweep) * patch.index
        tone = np.sin(phase + bell * np.sin(patch.ratio * phase))
        return np.stack([tone, tone]).astype(np.float32)
    sound = np.zeros((2, len(time)), np.float32)
    table = _table(patch.wave, int(pitch // 12))
    for oscillator in range(patch.unison):
        place = 2 * oscillator / (patch.unison - 1) - 1 if patch.unison > 1 else 0.0
        tone = _read(table, frequency * 2 ** (place * patch.detune / 1200), len(time), rng)
        pan = place * patch.width * (-1) ** oscillator
        sound[0] += tone * np.float32(1 - pan)
        sound[1] += tone * np.float32(1 + pan)
    sound *= np.float32(0.5 / np.sqrt(patch.unison))
    if patch.sub:
        sound += np.float32(patch.sub) * np.sin(np.pi * frequency * time)
    return sound


def _read(table: np.ndarray, frequency: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """Read a wavetable at a frequency in Hz; the phase is a 32-bit integer, so that it wraps by itself."""
    increment = np.uint32(frequency / RATE * 2**32)
    phase = np.arange(length, dtype=np.uint32) * increment + np.uint32(rng.integers(2**32))
    return table[phase >> np.uint32(20)]


@lru_cache(maxsize=128)
def _table(wave: str, octave: int) -> np.ndarray:
    """Compute one band-limited cycle, float32 `[_TABLE]`, for an octave (octave 0 starts at MIDI note 0)."""
    highest = 440 * 2 ** ((12 * (max(octave, _LOWEST_OCTAVE) + 1) - 69) / 12)
    count = max(1, min(_TABLE // 2 - 1, int(0.45 * RATE / highest)))
    n = np.arange(1, count + 1)
    odd = n % 2 == 1
    amplitudes = {
        "saw": 1 / n,
        "square": odd / n,
        "pulse": np.sin(np.pi * n * 0.2) / n,
        "triangle": odd * (-1.0) ** (n // 2) / n**2,
        "sine": (n == 1) * 1.0,
        "organ": np.isin(n, [1, 2, 3, 4, 6, 8]) / n**0.6,
    }[wave]
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex128)
    spectrum[1 : count + 1] = -0.5j * amplitudes * _TABLE
    cycle = np.fft.irfft(spectrum)
    return (cycle / np.sqrt((cycle**2).mean()) * 0.5).astype(np.float32)


def _envelope(patch: Patch, duration: float, time: np.ndarray) -> np.ndarray:
    level = patch.sustain + (1 - patch.sustain) * np.exp(-time / patch.decay)
    rise = np.minimum(time / patch.attack, 1)
    return level * rise * np.exp(-np.maximum(time - duration, 0) / patch.release)


def _low_pass(audio: np.ndarray, cutoff: float) -> np.ndarray:
    if cutoff > 0.42 * RATE:
        return audio
    return sosfilt(butter(4, cutoff, fs=RATE, output="sos"), audio).astype(np.float32)


_Ranges = dict[str, tuple[float, float]]

PATCHES: dict[str, tuple[tuple[str, ...], _Ranges]] = {
    "pad": (
        ("saw", "square", "triangle", "pulse"),
        {
            "unison": (2, 4),
            "detune": (6, 18),
            "width": (0.4, 1),
            "attack": (0.08, 0.8),
            "decay": (0.5, 2),
            "sustain": (0.7, 1),
            "release": (0.1, 0.6),
            "cutoff": (600, 5000),
        },
    ),
    "supersaw": (
        ("saw",),
        {
            "unison": (4, 6),
            "detune": (14, 35),
            "width": (0.6, 1),
            "attack": (0.003, 0.02),
            "decay": (0.3, 1),
            "sustain": (0.5, 0.9),
            "release": (0.05, 0.2),
            "cutoff": (4000, 16000),
            "opening": (0, 1),
            "sweep": (0.1, 0.5),
        },
    ),
    "pluck": (
        ("saw", "square", "triangle", "pulse"),
        {
            "unison": (1, 3),
            "detune": (3, 14),
            "width": (0, 0.7),
            "attack": (0.002, 0.005),
            "decay": (0.08, 0.4),
            "sustain": (0, 0.25),
            "release": (0.05, 0.25),
            "cutoff": (500, 2500),
            "opening": (1, 3.5),
            "sweep": (0.05, 0.2),
        },
    ),
    "lead": (
        ("saw", "square", "pulse", "triangle"),
        {
            "unison": (1, 3),
            "detune": (4, 14),
            "width": (0, 0.5),
            "attack": (0.003, 0.04),
            "decay": (0.2, 1),
            "sustain": (0.6, 1),
            "release": (0.05, 0.2),
            "cutoff": (2500, 12000),
            "opening": (0, 1.5),
            "sweep": (0.1, 0.6),
        },
    ),
    "bell": (
        ("fm",),
        {
            "attack": (0.002, 0.004),
            "decay": (0.3, 1.2),
            "sustain": (0, 0.1),
            "release": (0.15, 0.5),
            "cutoff": (6000, 18000),
            "sweep": (0.1, 0.6),
            "index": (0.5, 3),
        },
    ),
    "electric piano": (
        ("fm",),
        {
            "attack": (0.002, 0.004),
            "decay": (0.6, 2),
            "sustain": (0, 0.2),
            "release": (0.06, 0.15),
            "cutoff": (3000, 9000),
            "sweep": (0.1, 0.5),
            "index": (0.3, 1.6),
        },
    ),
    "organ": (
        ("organ",),
        {
            "unison": (1, 3),
            "detune": (2, 8),
            "width": (0, 0.8),
            "attack": (0.004, 0.02),
            "decay": (0.5, 1),
            "sustain": (0.9, 1),
            "release": (0.02, 0.06),
            "cutoff": (3000, 9000),
        },
    ),
    "bass": (
        ("saw", "square", "pulse", "triangle"),
        {
            "unison": (1, 2),
            "detune": (2, 10),
            "sub": (0, 0.6),
            "attack": (0.003, 0.008),
            "decay": (0.15, 0.8),
            "sustain": (0.3, 0.9),
            "release": (0.02, 0.07),
            "cutoff": (180, 1200),
            "opening": (0.5, 3.5),
            "sweep": (0.05, 0.3),
        },
    ),
    "sub": (
        ("sine", "triangle"),
        {
            "attack": (0.004, 0.01),
            "decay": (0.4, 2),
            "sustain": (0.4, 0.9),
            "release": (0.03, 0.15),
            "cutoff": (150, 900),
        },
    ),
    "reese": (
        ("saw",),
        {
            "unison": (2, 4),
            "detune": (18, 45),
            "width": (0, 0.3),
            "sub": (0.2, 0.7),
            "attack": (0.005, 0.03),
            "decay": (0.5, 2),
            "sustain": (0.8, 1),
            "release": (0.03, 0.1),
            "cutoff": (250, 1600),
        },
    ),
}
"""Kinds of patches: waveforms to choose from, and the range that each attribute of `Patch` is drawn from."""
