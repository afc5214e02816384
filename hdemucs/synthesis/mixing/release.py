"""How a master reaches listeners: crushed, quiet, in mono, wide, with an old medium's band, or as MP3.

Stems still add up to the mixture: filters and width are linear, gains are the same for all stems, and lossy
coding is applied to every stem alike.
"""

import io
from collections.abc import Mapping

import numpy as np
import soundfile

from hdemucs.synthesis.mixing.effects import Band, draw_space, equalise, gain, limiter_gain, place
from hdemucs.synthesis.mixing.production import CEILING
from hdemucs.synthesis.score.notes import RATE

Stems = Mapping[str, np.ndarray]

_COARSEST = 0.75  # setting of LAME: 128 kbit/s; below, it changes the sample rate


def spill(stems: Stems, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Let every part be heard in the room by the microphones of the others, as in live recordings.

    What they hear of a part stays in that part's stem: dull, late, reverberant and from elsewhere.
    """
    space = draw_space(rng, (0.2, 1.2), (0.004, 0.02))
    spilled = {}
    for name, stem in stems.items():
        heard = equalise(space.reverberate(stem), [Band("low pass", float(rng.uniform(2500, 9000)))])
        spilled[name] = stem + place(heard, rng.uniform(-0.9, 0.9)) * gain(rng.uniform(-24, -9))
    return spilled


def push(stems: Stems, decibels: float, window: float) -> dict[str, np.ndarray]:
    """Drive all stems together into a limiter.

    Args:
        stems: Mastered stems.
        decibels: Gain before the limiter.
        window: Time in seconds over which its gain is smoothed.
    """
    linked = np.concatenate([np.sum(list(stems.values()), axis=0), *stems.values()])
    curve = np.full(linked.shape[1], gain(decibels), np.float32)
    for _ in range(2):
        curve = curve * limiter_gain(linked * curve, CEILING, window)
    return {name: stem * curve for name, stem in stems.items()}


def code_mp3(stems: Stems, compression: float) -> dict[str, np.ndarray]:
    """Encode every stem as MP3 and decode it.

    Args:
        stems: Stems `[2, length]`.
        compression: 0 for 320 kbit/s, to `_COARSEST`.
    """
    coded = {}
    for name, stem in stems.items():
        file = io.BytesIO()
        soundfile.write(
            file,
            stem.T,
            RATE,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="CONSTANT",
            compression_level=compression,
        )
        file.seek(0)
        coded[name] = soundfile.read(file, dtype="float32", always_2d=True)[0].T
    return coded


def release(stems: Stems, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], list[str]]:
    """Release a master; about half of them as they are.

    Args:
        stems: Mastered stems.
        rng: Source of the medium.

    Returns:
        The stems, none of which peaks above `CEILING`, and what was done, for a song's description.
    """
    done = []
    released = dict(stems)
    if rng.random() < 0.2:
        done.append("old medium" if (old := rng.random() < 0.4) else "band-limited")
        low, high = (
            (rng.uniform(50, 140), rng.uniform(5000, 11000)) if old else (25, rng.uniform(11000, 17000))
        )
        band = [Band("high pass", low), *[Band("low pass", high, q=q) for q in (0.54, 1.31)]]
        released = {name: equalise(stem, band) for name, stem in released.items()}
    if rng.random() < 0.2:
        width = float(rng.choice([0.0, rng.uniform(0.1, 0.7), rng.uniform(1.2, 1.8)], p=[0.3, 0.35, 0.35]))
        done.append(f"width {width:.1f}")
        released = {name: place(stem, 0.0, width) for name, stem in released.items()}
    if rng.random() < 0.15:
        done.append("crushed")
        released = push(released, rng.uniform(3, 9), rng.uniform(0.002, 0.01))
    elif rng.random() < 0.12:
        done.append("quiet")
        level = gain(rng.uniform(-20, -5))
        released = {name: stem * level for name, stem in released.items()}
    if rng.random() < 0.08:
        done.append("mp3")
        released = code_mp3(released, rng.uniform(0.3, _COARSEST))
    peak = max(float(np.abs(signal).max()) for signal in (*released.values(), sum(released.values())))
    if peak > gain(CEILING):
        released = {name: stem * (gain(CEILING) / np.float32(peak)) for name, stem in released.items()}
    return released, done
