"""A drummer: a kit put together from several, and its strokes placed where the score has hits."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.signal import resample_poly

from hdemucs.synthesis.drums.drum_machine import synthesise_kit
from hdemucs.synthesis.drums.kits import Kit, kit_choices, load_kit
from hdemucs.synthesis.mixing.effects import Band, equalise, gain, place, random_tone
from hdemucs.synthesis.score.grooves import Hit
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.sounds import Sound

# Peaks of hard strokes in dB, as engineers balance a kit, and how far to the side each drum stands.
_BALANCE = {
    "kick": (0, 0.0), "snare": (-2, 0.1), "rim": (-8, 0.1), "clap": (-5, 0.1), "closed": (-15, 0.45),
    "pedal": (-17, 0.45), "open": (-13, 0.45), "ride": (-14, 0.5), "bell": (-14, 0.5), "crash": (-9, 0.6),
    "splash": (-12, 0.5), "high tom": (-4, 0.4), "mid tom": (-4, 0.1), "low tom": (-3, 0.5),
    "tambourine": (-14, 0.6), "cowbell": (-12, 0.5), "shaker": (-16, 0.6), "high conga": (-8, 0.4),
    "low conga": (-7, 0.4),
}  # fmt: skip
_HATS = ("closed", "pedal", "open")
_CHOKE = 0.03  # seconds in which a closing hi-hat stops


def choose_kit(
    character: str, drums: Iterable[str], sounds: Sequence[Sound], rng: np.random.Generator
) -> tuple[Kit, str]:
    """A kit that has all wanted drums, and a name for it.

    Args:
        character: `acoustic` or `electronic`; electronic kits may be synthesised.
        drums: names from `kits.DRUMS`.
        sounds: at hand.
    """
    wanted = frozenset(drums)
    choices = kit_choices(sounds, character)
    spare = [choice for choice in kit_choices(sounds, "acoustic") if choice[0].kind == "soundfont"]
    if not choices or (character == "electronic" and rng.random() < 0.4):
        base, name = synthesise_kit(rng), "drum machine"
        kit = {drum: strokes for drum, strokes in base.items() if drum in wanted}
    else:
        sound, preset = _draw(choices, rng)
        kit, name = _single(sound, load_kit(sound, preset, wanted), rng), f"{sound.name} {preset}"
    for drum in sorted(wanted):
        lacking = drum not in kit
        if lacking or rng.random() < 0.2:
            sound, preset = _draw(choices + spare, rng)
            other = _single(sound, load_kit(sound, preset, {drum}), rng)
            if drum not in other and lacking and spare:
                sound, preset = _draw(spare, rng)
                other = load_kit(sound, preset, {drum})
            if drum in other:
                kit, name = kit | other, f"{name}, {drum} of {sound.name} {preset}"
    return kit, name


def _draw(choices: Sequence[tuple[Sound, int]], rng: np.random.Generator) -> tuple[Sound, int]:
    """By sound first, so that one with many presets is not drawn more often."""
    names = sorted({sound.name for sound, _ in choices})
    name = names[rng.integers(len(names))]
    presets = [choice for choice in choices if choice[0].name == name]
    return presets[rng.integers(len(presets))]


def _single(sound: Sound, kit: Kit, rng: np.random.Generator) -> Kit:
    """Of one-shots, which are unrelated, one a drum."""
    if sound.kind != "one-shots":
        return kit
    return {drum: [strokes[rng.integers(len(strokes))]] for drum, strokes in kit.items()}


def tune_kit(kit: Kit, rng: np.random.Generator) -> Kit:
    """Every drum tuned, damped, toned, balanced and panned for one song."""
    tuned: Kit = {}
    mirrored = -1 if rng.random() < 0.5 else 1
    width = rng.uniform(0.2, 1.0)
    for drum, strokes in kit.items():
        balance, side = _BALANCE[drum]
        level = balance + float(rng.normal(0, 2.0))
        pan = mirrored * side * width * (-1 if drum in ("ride", "low tom", "shaker", "low conga") else 1)
        tone = random_tone(rng, 2, 4)
        if drum == "kick":
            tone += [
                Band("peak", 65, float(rng.uniform(-3, 3)), 1),
                Band("peak", 350, float(rng.uniform(-7, 0)), 0.8),
            ]
            tone += [Band("peak", float(rng.uniform(2500, 5000)), float(rng.uniform(0, 6)), 1.0)]
        elif drum == "snare":
            tone += [
                Band("peak", 200, float(rng.uniform(-1, 4)), 1),
                Band("high shelf", 5000, float(rng.uniform(0, 4))),
            ]
        elif drum in (*_HATS, "ride", "crash", "shaker", "tambourine"):
            tone += [Band("high pass", float(rng.uniform(200, 500)))]
        speed = (
            int(rng.choice([9, 10, 10, 10, 11])) if drum != "kick" else int(rng.choice([9, 10, 10, 10, 10]))
        )
        decay = float(np.exp(rng.uniform(np.log(0.15), np.log(3.0))))
        tuned[drum] = [
            place(equalise(_damp(_tune(stroke, speed), decay), tone) * gain(level), pan, width)
            for stroke in strokes
        ]
    return tuned


def _tune(stroke: np.ndarray, speed: int) -> np.ndarray:
    """Played back at `speed` tenths."""
    if speed == 10:
        return stroke
    return resample_poly(stroke, 10, speed, axis=1).astype(np.float32)


def _damp(stroke: np.ndarray, decay: float) -> np.ndarray:
    """Dying away sooner: by a factor of e in `decay` seconds, over what it does by itself."""
    if decay > 1.5:
        return stroke
    time = np.arange(stroke.shape[1], dtype=np.float32) / RATE
    return stroke * np.exp(-np.maximum(time - 0.05, 0) / np.float32(decay))


def play_kit(hits: Sequence[Hit], kit: Kit, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The drums of a song before the mixing desk.

    Soft strokes take a softer sample if there is one and are duller; a hi-hat stops the one before it.

    Args:
        hits: in any order; those outside the song, and of drums that the kit lacks, are left out.
        kit: see `tune_kit`.
        seconds: length of the result.

    Returns:
        float32 `[2, frames]`.
    """
    frames = round(seconds * RATE)
    audio = np.zeros((2, frames), np.float32)
    dull = {
        drum: [equalise(stroke, [Band("low pass", 2500)]) for stroke in strokes]
        for drum, strokes in kit.items()
    }
    ordered = sorted(
        (hit for hit in hits if 0 <= hit.start < seconds and hit.drum in kit), key=lambda hit: hit.start
    )
    hats = [hit.start for hit in ordered if hit.drum in _HATS] + [np.inf]
    hat = 0
    for hit in ordered:
        strokes = kit[hit.drum]
        layer = min(int(hit.velocity * len(strokes) + rng.uniform(-0.3, 0.3)), len(strokes) - 1)
        layer = max(layer, 0)
        peak = float(np.abs(strokes[-1]).max() / max(np.abs(strokes[layer]).max(), 1e-6))
        bright = hit.velocity
        level = hit.velocity**1.5 * peak**0.7 * gain(rng.normal(0, 0.8))
        stroke = (strokes[layer] * bright + dull[hit.drum][layer] * (1 - bright)) * np.float32(level)
        if hit.drum in _HATS:
            hat += 1
            stroke = _choke(stroke, hats[hat] - hit.start)
        start = round(hit.start * RATE)
        length = min(stroke.shape[1], frames - start)
        audio[:, start : start + length] += stroke[:, :length]
    return audio


def _choke(stroke: np.ndarray, seconds: float) -> np.ndarray:
    """Faded out after some seconds."""
    if seconds * RATE >= stroke.shape[1]:
        return stroke
    end = round((seconds + _CHOKE) * RATE)
    fade = round(_CHOKE * RATE)
    cut = stroke[:, :end].copy()
    cut[:, -fade:] *= np.linspace(1, 0, cut[:, -fade:].shape[1], dtype=np.float32)
    return cut
