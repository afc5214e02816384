"""Drum kits as arrays: strokes of each drum, soft to hard, from soundfonts, recorded kits and one-shots."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from hdemucs.errors import TrainingError
from hdemucs.synthesis.instruments.soundfont import DRUM_BANK, SoundFont
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound

Kit = dict[str, list[np.ndarray]]
"""Name of a drum -> strokes, soft to hard: float32 `[2, frames]`, the loudest of a drum peaking at 1."""

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
"""Every drum that a groove may ask for, and its keys in General MIDI."""

ESSENTIAL = ("kick", "snare", "closed")

# The first pattern that is found in the lower-case name of an instrument or file says which drum it is.
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
_LONGEST = 4.0  # seconds kept of one stroke: a crash rings no longer in a mix
_SILENCE = 1e-3  # of the peak: where a stroke begins and ends


def classify(name: str) -> str | None:
    """The drum that a name in a kit stands for; None if it is none of ours."""
    return next((drum for drum, pattern in _NAMES if re.search(pattern, name.lower())), None)


def kit_choices(sounds: Sequence[Sound], character: str) -> list[tuple[Sound, int]]:
    """Kits of a character (`acoustic`, `electronic`): a sound, and the preset of a soundfont (else 0)."""
    choices = [(sound, 0) for sound in sounds if sound.kind != "soundfont" and sound.character == character]
    for sound in sounds:
        if sound.kind == "soundfont":
            font = SoundFont(sound.path)
            choices += [(sound, preset) for preset in _GM_KITS[character] if font.has(DRUM_BANK, preset)]
    return choices


def load_kit(sound: Sound, preset: int, drums: Iterable[str]) -> Kit:
    """The wanted drums of one sound; those that it lacks are missing.

    Args:
        sound: soundfont, kit or one-shots. Of one-shots a drum's strokes are unrelated sounds, of others one
            drum struck soft to hard.
        preset: of a soundfont's drum bank.
        drums: names from `DRUMS`.

    Raises:
        TrainingError: the sound holds no kick, snare and hi-hat.
    """
    if sound.kind == "soundfont":
        font = SoundFont(sound.path)
        kit = {drum: _soundfont_drum(font, preset, drum) for drum in sorted(drums)}
        return {drum: strokes for drum, strokes in kit.items() if strokes}
    kit = _hydrogen_kit(sound.path) if sound.kind == "kit" else _one_shots(sound.path)
    missing = [drum for drum in ESSENTIAL if drum not in kit]
    if missing:
        raise TrainingError(f"{sound.path}: has no {' and no '.join(missing)}; install {sound.package} again")
    return {drum: kit[drum] for drum in sorted(drums) if drum in kit}


@lru_cache(maxsize=256)
def _soundfont_drum(font: SoundFont, preset: int, drum: str) -> list[np.ndarray]:
    """Three strokes of a drum, soft to hard."""
    seconds = _LONGEST if drum in _CYMBALS else _LONGEST / 3
    return _normalise(
        [
            font.play([Note(0, seconds, DRUMS[drum][0], velocity)], seconds, preset, bank=DRUM_BANK)
            for velocity in (0.4, 0.7, 1.0)
        ]
    )


@lru_cache(maxsize=16)
def _hydrogen_kit(folder: Path) -> Kit:
    """A kit as Hydrogen's `drumkit.xml` describes it; the first instrument that is a drum is that drum."""
    text = (folder / "drumkit.xml").read_text(errors="ignore")
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
    """A folder of unrelated strokes: each is a sound of its own."""
    pool: Kit = {}
    for file in sorted(folder.glob("*.flac")):
        single = re.match(r"bd_|sn_|drum_|elec_.*(snare|tick|kick)|perc_snap", file.name)
        drum = classify(file.stem) if single and "roll" not in file.name else None
        if drum and (trimmed := _normalise([_read(file)])):
            pool.setdefault(drum, []).extend(trimmed)
    return pool


def _read(path: Path) -> np.ndarray:
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = np.repeat(audio, 2, axis=1) if audio.shape[1] == 1 else audio[:, :2]
    if rate != RATE:
        divisor = np.gcd(rate, RATE)
        audio = resample_poly(audio, RATE // divisor, rate // divisor, axis=0)
    return np.ascontiguousarray(audio.T[:, : round(_LONGEST * RATE)], np.float32)


def _normalise(strokes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Trimmed, soft to hard, the hardest peaking at 1; [] if all are silent."""
    peaks = [float(np.abs(stroke).max(initial=0)) for stroke in strokes]
    loudest = max(peaks, default=0.0)
    if loudest < 1e-4:
        return []
    order = sorted(range(len(strokes)), key=lambda index: peaks[index])
    return [_trim(strokes[index] / np.float32(loudest), peaks[index] / loudest) for index in order]


def _trim(stroke: np.ndarray, peak: float) -> np.ndarray:
    """Without silence at either end, faded out so that the cut is not heard."""
    loud = np.flatnonzero(np.abs(stroke).max(axis=0) > _SILENCE * peak)
    stroke = stroke[:, loud[0] : loud[-1] + 1].copy() if len(loud) else stroke[:, :1].copy()
    fade = min(stroke.shape[1], RATE // 50)
    stroke[:, stroke.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return stroke
