"""The drummer: assembles a kit, possibly from several, and plays the hits of a score on it."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.signal import resample_poly

from hdemucs.synthesis.drums.drum_machine import synthesise_kit
from hdemucs.synthesis.drums.kits import Kit, kit_choices, load_kit
from hdemucs.synthesis.mixing.effects import Band, equalise, gain, place, random_tone
from hdemucs.synthesis.score.grooves import Hit
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.sounds import Sound

# Peak of hard strokes in dB, as engineers balance a kit, and pan from the centre (0) to one side (1).
_BALANCE = {
    "kick": (0, 0.0), "snare": (-2, 0.1), "rim": (-8, 0.1), "clap": (-5, 0.1), "closed": (-15, 0.45),
    "pedal": (-17, 0.45), "open": (-13, 0.45), "ride": (-14, 0.5), "bell": (-14, 0.5), "crash": (-9, 0.6),
    "splash": (-12, 0.5), "high tom": (-4, 0.4), "mid tom": (-4, 0.1), "low tom": (-3, 0.5),
    "tambourine": (-14, 0.6), "cowbell": (-12, 0.5), "shaker": (-16, 0.6), "high conga": (-8, 0.4),
    "low conga": (-7, 0.4),
}  # fmt: skip
_HATS = ("closed", "pedal", "open")
_CHOKE = 0.03  # seconds in which a closing hi-hat falls silent


def choose_kit(
    character: str, drums: Iterable[str], sounds: Sequence[Sound], rng: np.random.Generator
) -> tuple[Kit, str]:
    """Draw a kit, with some of its drums replaced by those of other kits.

    Args:
        character: `acoustic` or `electronic`; electronic kits may be synthesised.
        drums: Drums that the kit must have, keys of `kits.DRUMS`.
        sounds: Sounds to choose from.
        rng: Random generator for the choice.

    Returns:
        The kit, and its name for a song's description.
    """
    wanted = frozenset(drums)
    choices = kit_choices(sounds, character)
    fallback = [choice for choice in kit_choices(sounds, "acoustic") if choice[0].kind == "soundfont"]
    if not choices or (character == "electronic" and rng.random() < 0.4):
        base, name = synthesise_kit(rng), "drum machine"
        kit = {drum: strokes for drum, strokes in base.items() if drum in wanted}
    else:
        sound, preset = _draw(choices, rng)
        kit, name = _one_of_each(sound, load_kit(sound, preset, wanted), rng), f"{sound.name} {preset}"
    for drum in sorted(wanted):
        lacking = drum not in kit
        if lacking or rng.random() < 0.2:
            sound, preset = _draw(choices + fallback, rng)
            other = _one_of_each(sound, load_kit(sound, preset, {drum}), rng)
            if drum not in other and lacking and fallback:
                sound, preset = _draw(fallback, rng)
                other = load_kit(sound, preset, {drum})
            if drum in other:
                kit, name = kit | other, f"{name}, {drum} of {sound.name} {preset}"
    return kit, name


def _draw(choices: Sequence[tuple[Sound, int]], rng: np.random.Generator) -> tuple[Sound, int]:
    """Draw the sound first, then its preset, so that sounds with many presets are not drawn more often."""
    names = sorted({sound.name for sound, _ in choices})
    name = names[rng.integers(len(names))]
    presets = [choice for choice in choices if choice[0].name == name]
    return presets[rng.integers(len(presets))]


def _one_of_each(sound: Sound, kit: Kit, rng: np.random.Generator) -> Kit:
    """Choose one stroke per drum if the sound consists of one-shots, which are unrelated to each other."""
    if sound.kind != "one-shots":
        return kit
    return {drum: [strokes[rng.integers(len(strokes))]] for drum, strokes in kit.items()}


def tune_kit(kit: Kit, rng: np.random.Generator) -> Kit:
    """Tune, damp, equalise, balance and pan every drum for one song."""
    tuned: Kit = {}
    perspective = -1 if rng.random() < 0.5 else 1
    width = rng.uniform(0.2, 1.0)
    for drum, strokes in kit.items():
        balance, side = _BALANCE[drum]
        level = balance + float(rng.normal(0, 2.0))
        pan = perspective * side * width * (-1 if drum in ("ride", "low tom", "shaker", "low conga") else 1)
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
    """Play a stroke back at `speed` tenths of its original speed."""
    if speed == 10:
        return stroke
    return resample_poly(stroke, 10, speed, axis=1).astype(np.float32)


def _damp(stroke: np.ndarray, decay: float) -> np.ndarray:
    """Make a stroke decay faster, by a factor of e in `decay` seconds on top of its own decay."""
    if decay > 1.5:
        return stroke
    time = np.arange(stroke.shape[1], dtype=np.float32) / RATE
    return stroke * np.exp(-np.maximum(time - 0.05, 0) / np.float32(decay))


def play_kit(hits: Sequence[Hit], kit: Kit, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Play hits on a kit.

    Soft hits use a softer stroke of the kit, if it has one, and sound duller. Each hi-hat stroke chokes the
    previous one.

    Args:
        hits: Hits in any order; those outside the song, or on drums that the kit lacks, are left out.
        kit: Kit as returned by `tune_kit`.
        seconds: Duration of the result in seconds.
        rng: Random generator for small differences between hits.

    Returns:
        The unmixed drums, float32 `[2, length]` at `RATE`.
    """
    length = round(seconds * RATE)
    audio = np.zeros((2, length), np.float32)
    dulled = {
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
        stroke = (strokes[layer] * bright + dulled[hit.drum][layer] * (1 - bright)) * np.float32(level)
        if hit.drum in _HATS:
            hat += 1
            stroke = _choke(stroke, hats[hat] - hit.start)
        start = round(hit.start * RATE)
        end = min(start + stroke.shape[1], length)
        audio[:, start:end] += stroke[:, : end - start]
    return audio


def _choke(stroke: np.ndarray, seconds: float) -> np.ndarray:
    """Fade a stroke out, starting after `seconds`."""
    if seconds * RATE >= stroke.shape[1]:
        return stroke
    end = round((seconds + _CHOKE) * RATE)
    fade = round(_CHOKE * RATE)
    cut = stroke[:, :end].copy()
    cut[:, -fade:] *= np.linspace(1, 0, cut[:, -fade:].shape[1], dtype=np.float32)
    return cut
