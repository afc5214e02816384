"""Drum kits: recorded strokes of each drum, from soundfonts, Hydrogen kits and one-shots."""

import re
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from hdemucs import audio
from hdemucs.errors import SynthesisError
from hdemucs.synthesis.instruments.soundfont import DRUM_BANK, SoundFont
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound

Kit = dict[str, list[np.ndarray]]
"""Drum -> its strokes from soft to hard, float32 `[2, length]` at `RATE`; the hardest one peaks at 1."""

DRUMS: dict[str, tuple[int, ...]] = {
    "kick": (36, 35),
    "snare": (38, 40),
    "rim": (37,),
    "clap": (39,),
    "closed": (42,),
    "pedal": (44,),
    "open": (46,),
    "ride": (51, 59),
    "bell": (53,),
    "crash": (49, 57),
    "splash": (55,),
    "high tom": (50, 48),
    "mid tom": (47, 45),
    "low tom": (43, 41),
    "tambourine": (54,),
    "cowbell": (56,),
    "shaker": (82, 70),
    "high conga": (63, 62),
    "low conga": (64,),
}
"""Every drum that a groove may use -> its keys in General MIDI."""

_ESSENTIAL = ("kick", "snare", "closed")

# The first pattern that matches the lower-case name of an instrument or file determines its drum.
_NAMES = (
    ("kick", r"kick|bass ?_?drum|\bbd|^bd_|drum_bass"),
    ("rim", r"roll|stick|rim|click"),
    ("snare", r"snare|^sn_|redo "),
    ("clap", r"clap|snap"),
    ("pedal", r"pedal|foot|semi"),
    ("open", r"open|cymbal_open|ohh|hat.*\bop\b"),
    ("closed", r"closed|\bhh\b|hat|tick"),
    ("bell", r"\bbell|cup"),
    ("ride", r"ride|cymbal_soft|cymbal 1"),
    ("splash", r"splash|china"),
    ("crash", r"crash|cymbal"),
    ("low tom", r"tom.*lo|lo.* tom|floor|tom ?3"),
    ("mid tom", r"tom.*mid|mid.* tom|tom ?2"),
    ("high tom", r"tom"),
    ("tambourine", r"tambourine"),
    ("cowbell", r"cowbell"),
)
_GM_KITS = {"acoustic": (0, 8, 16, 32, 40), "electronic": (24, 25)}
_CYMBALS = ("open", "ride", "bell", "crash", "splash")
_LONGEST = 4.0  # seconds kept of a stroke; even a crash is not audible for longer in a mix
_SILENCE = 1e-3  # relative to the peak; quieter samples at either end of a stroke are cut


def classify(name: str) -> str | None:
    """Identify the drum that an instrument or file is named after; None if it is not in `DRUMS`."""
    return next((drum for drum, pattern in _NAMES if re.search(pattern, name.lower())), None)


def kit_choices(sounds: Sequence[Sound], character: str) -> list[tuple[Sound, int]]:
    """List the kits of one character.

    Args:
        sounds: Sounds to choose from.
        character: `acoustic` or `electronic`.

    Returns:
        Pairs of a sound and a preset in its drum bank; the preset is 0 for sounds other than soundfonts.
    """
    choices = [(sound, 0) for sound in sounds if sound.kind != "soundfont" and sound.character == character]
    for sound in sounds:
        if sound.kind == "soundfont":
            font = SoundFont(sound.path)
            choices += [(sound, preset) for preset in _GM_KITS[character] if font.has(DRUM_BANK, preset)]
    return choices


def load_kit(sound: Sound, preset: int, drums: Iterable[str]) -> Kit:
    """Load drums from one sound.

    Args:
        sound: Soundfont, kit or one-shots. The strokes of a drum in one-shots are unrelated; otherwise they
            are the same drum, struck from soft to hard.
        preset: Preset in the drum bank of a soundfont; ignored for other sounds.
        drums: Drums to load, keys of `DRUMS`.

    Returns:
        The requested drums, as far as the sound has them.

    Raises:
        SynthesisError: A kit or one-shots lack the kick, snare or closed hi-hat.
        AudioError: One of its files is damaged.
    """
    if sound.kind == "soundfont":
        font = SoundFont(sound.path)
        kit = {drum: _soundfont_drum(font, preset, drum) for drum in sorted(drums)}
        return {drum: strokes for drum, strokes in kit.items() if strokes}
    kit = _hydrogen_kit(sound.path) if sound.kind == "kit" else _one_shots(sound.path)
    missing = [drum for drum in _ESSENTIAL if drum not in kit]
    if missing:
        raise SynthesisError(
            f"{sound.path} has no {' and no '.join(missing)}; reinstall the package {sound.package}"
        )
    return {drum: kit[drum] for drum in sorted(drums) if drum in kit}


@lru_cache(maxsize=256)
def _soundfont_drum(font: SoundFont, preset: int, drum: str) -> list[np.ndarray]:
    """Three strokes of a drum, from soft to hard."""
    seconds = _LONGEST if drum in _CYMBALS else _LONGEST / 3
    return _normalise(
        [
            font.play([Note(0, seconds, DRUMS[drum][0], velocity)], seconds, preset, bank=DRUM_BANK)
            for velocity in (0.4, 0.7, 1.0)
        ]
    )


@lru_cache(maxsize=16)
def _hydrogen_kit(folder: Path) -> Kit:
    """Read a Hydrogen kit from its `drumkit.xml`; the first instrument that matches a drum is used."""
    text = (folder / "drumkit.xml").read_text(encoding="utf-8", errors="ignore")
    kit: Kit = {}
    for instrument in re.findall(r"<instrument>(.*?)</instrument>", text, re.DOTALL):
        name = re.search(r"<name>(.*?)</name>", instrument, re.DOTALL)
        files = [folder / file for file in re.findall(r"<filename>(.*?)</filename>", instrument)]
        drum = classify(name[1]) if name else None
        strokes = [_read(file) for file in files if file.exists()]
        if drum and drum not in kit and (trimmed := _normalise(strokes)):
            kit[drum] = trimmed
    return kit


@lru_cache(maxsize=2)
def _one_shots(folder: Path) -> Kit:
    """Read a folder of one-shots."""
    kit: Kit = {}
    for file in sorted(folder.glob("*.flac")):
        single = re.match(r"bd_|sn_|drum_|elec_.*(snare|tick|kick)|perc_snap", file.name)
        drum = classify(file.stem) if single and "roll" not in file.name else None
        if drum and (trimmed := _normalise([_read(file)])):
            kit.setdefault(drum, []).extend(trimmed)
    return kit


def _read(path: Path) -> np.ndarray:
    """Read an audio file as stereo at `RATE`."""
    source = audio.open(path)
    samples = source.read(0, sys.maxsize).numpy()
    samples = np.repeat(samples, 2, axis=0) if source.channels == 1 else samples[:2]
    if source.sample_rate != RATE:
        divisor = np.gcd(source.sample_rate, RATE)
        samples = resample_poly(samples, RATE // divisor, source.sample_rate // divisor, axis=1)
    return np.ascontiguousarray(samples[:, : round(_LONGEST * RATE)], np.float32)


def _normalise(strokes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Trim strokes, sort them from soft to hard and scale the hardest to 1; empty if all are silent."""
    peaks = [float(np.abs(stroke).max(initial=0)) for stroke in strokes]
    loudest = max(peaks, default=0.0)
    if loudest < 1e-4:
        return []
    order = sorted(range(len(strokes)), key=lambda index: peaks[index])
    return [_trim(strokes[index] / np.float32(loudest), peaks[index] / loudest) for index in order]


def _trim(stroke: np.ndarray, peak: float) -> np.ndarray:
    """Cut silence at either end, and fade out so that the cut is inaudible."""
    loud = np.flatnonzero(np.abs(stroke).max(axis=0) > _SILENCE * peak)
    stroke = stroke[:, loud[0] : loud[-1] + 1].copy() if len(loud) else stroke[:, :1].copy()
    fade = min(stroke.shape[1], RATE // 50)
    stroke[:, stroke.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return stroke
