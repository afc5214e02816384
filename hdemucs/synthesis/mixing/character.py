"""What recordings of drums go through besides a clean mix: rooms, gates, compressors, tape, old samplers."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal import resample_poly

from hdemucs.synthesis.mixing.effects import (
    FRAME,
    Band,
    compress,
    draw_space,
    equalise,
    frame_levels,
    gain,
    per_sample,
    place,
    saturate,
)
from hdemucs.synthesis.score.notes import RATE


def gate(audio: np.ndarray, key: np.ndarray, depth: float, hold: float, release: float) -> np.ndarray:
    """Let audio through only where another signal is loud, as in gated reverb.

    Args:
        audio: Audio to gate.
        key: Signal that opens the gate, of the same length.
        depth: Level in dB below the key's loud passages at which the gate opens.
        hold: Time in seconds that it stays open.
        release: Time in seconds in which it closes.
    """
    levels = frame_levels(key)
    frames = np.arange(len(levels))
    opened = np.maximum.accumulate(np.where(levels > np.percentile(levels, 95) - depth, frames, -len(levels)))
    since = (frames - opened) * FRAME / RATE
    return audio * per_sample(np.clip(1 - (since - hold) / release, 0, 1), audio.shape[1])


def tape(audio: np.ndarray, drive: float, wow: float, rng: np.random.Generator) -> np.ndarray:
    """Record to tape and play it back.

    Args:
        audio: Audio to record.
        drive: Level in dB at which it saturates, see `saturate`.
        wow: Deviation of the playback position in seconds.
        rng: Source of the machine's tone and speed.
    """
    tone = [
        Band("peak", float(rng.uniform(50, 110)), float(rng.uniform(0, 4)), 1.0),
        Band("low pass", float(rng.uniform(7000, 17000))),
    ]
    recorded = equalise(saturate(audio, drive, rng.uniform(0, 0.2)), tone)
    position = np.arange(audio.shape[1], dtype=np.float64)
    turned = position + wow * RATE * np.sin(
        2 * np.pi * rng.uniform(0.4, 5.0) * position / RATE + rng.uniform(0, 6)
    )
    return np.stack([np.interp(turned, position, side) for side in recorded]).astype(np.float32)


def lo_fi(audio: np.ndarray, hold: int, bits: int) -> np.ndarray:
    """Sample in mono as an old sampler does: at a fraction of the sample rate, in few bits.

    Args:
        audio: Audio `[2, length]`.
        hold: Number of samples for which a value is held.
        bits: Bits of a value.
    """
    mono = audio.mean(axis=0)
    scale = 2 ** (bits - 1) / np.abs(mono).max(initial=1e-9)
    coarse = np.rint(resample_poly(mono, 1, hold) * scale) / scale
    return place(np.repeat(coarse, hold)[None, : len(mono)].astype(np.float32), 0.0)


def _room(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    space = draw_space(rng, (0.15, 0.9), (0, 0.012))
    return audio + space.reverberate(audio) * gain(rng.uniform(-9, 4))


def _plate(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    space = draw_space(rng, (1.0, 3.0), (0, 0.02))
    return audio + space.reverberate(audio) * gain(rng.uniform(-16, -5))


def _gated(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wet = compress(draw_space(rng, (0.8, 2.0), (0, 0.015)).reverberate(audio), 20, 8, 0.002, 0.2)
    wet = gate(wet, audio, rng.uniform(8, 18), rng.uniform(0.06, 0.25), rng.uniform(0.02, 0.1))
    return audio + wet * gain(rng.uniform(-9, 1))


def _pumped(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wet = _room(audio, rng) if rng.random() < 0.5 else audio
    release = rng.uniform(0.12, 0.5)
    wet = compress(wet, rng.uniform(18, 32), rng.uniform(8, 20), rng.uniform(0.0005, 0.006), release)
    return audio * np.float32(rng.choice([0.0, 0.3, 1.0])) + wet


def _taped(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return tape(audio, rng.uniform(4, 18), rng.uniform(0, 0.0008), rng)


def _sampled(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return lo_fi(audio, int(rng.integers(1, 5)), int(rng.integers(7, 13)))


def _old(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    band = [Band("high pass", float(rng.uniform(50, 130))), Band("low pass", float(rng.uniform(4000, 10000)))]
    return equalise(saturate(place(_room(audio, rng), 0.0, 0.0), rng.uniform(2, 10)), band)


Treatment = Callable[[np.ndarray, np.random.Generator], np.ndarray]

TREATMENTS: Mapping[str, tuple[float, Treatment | None]] = {
    "clean": (0.4, None),
    "room": (0.13, _room),
    "plate": (0.05, _plate),
    "gated": (0.08, _gated),
    "pumped": (0.13, _pumped),
    "tape": (0.09, _taped),
    "sampled": (0.06, _sampled),
    "old": (0.06, _old),
}
"""Treatments of a drum kit, each with its share of all songs."""


def treat_drums(audio: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Treat drums `[2, length]` with one of `TREATMENTS`; returns them and the treatment's name."""
    shares = np.array([share for share, _ in TREATMENTS.values()])
    name = str(rng.choice(list(TREATMENTS), p=shares / shares.sum()))
    treatment = TREATMENTS[name][1]
    return (treatment(audio, rng) if treatment else audio), name
