"""Instruments: families of presets and patches, and one of them chosen and ready to play."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.instruments.soundfont import SoundFont
from hdemucs.synthesis.instruments.strings import PluckedString, draw_string, play_string
from hdemucs.synthesis.instruments.synthesizer import Patch, draw_patch, play_patch
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound


@dataclass(frozen=True)
class Family:
    """What a style may ask for by one name.

    Attributes:
        programs: General MIDI numbers from 0.
        patches: kinds of own patches, in `synthesizer.PATCHES`.
        strings: kinds of own plucked strings, in `strings.STRINGS`; not in held-out songs, in which the
            instruments of soundfonts stand for those that a model has never heard.
        low: MIDI number of the lowest note in chords.
        drive: range of the amplifier's gain in dB; None for no amplifier.
    """

    programs: tuple[int, ...] = ()
    patches: tuple[str, ...] = ()
    strings: tuple[str, ...] = ()
    low: int = 52
    drive: tuple[float, float] | None = None


FAMILIES: dict[str, Family] = {
    "piano": Family((0, 1, 2, 3), low=54),
    "electric piano": Family((4, 5), ("electric piano",), low=53),
    "clavinet": Family((7,), low=50),
    "organ": Family((16, 17, 18, 19), ("organ",), low=53),
    "accordion": Family((21, 23), low=57),
    "harmonica": Family((22,), low=60),
    "vibraphone": Family((11, 12), low=57),
    "bell": Family((8, 9, 10, 14), ("bell",), low=64),
    "harp": Family((46,), low=57),
    "nylon guitar": Family((24,), strings=("nylon",), low=50),
    "steel guitar": Family((25,), strings=("steel",), low=50),
    "jazz guitar": Family((26,), low=50),
    "clean guitar": Family((27, 27, 26), strings=("electric", "electric"), low=52, drive=(-6, 12)),
    "muted guitar": Family((28,), strings=("palm",), low=52, drive=(-6, 10)),
    "crunch guitar": Family((27, 27, 29, 25), strings=("electric", "electric"), low=40, drive=(12, 30)),
    "distorted guitar": Family((27, 27, 30, 29), strings=("electric", "electric"), low=40, drive=(28, 48)),
    "banjo": Family((105,), low=55),
    "fiddle": Family((40, 110), low=58),
    "strings": Family((48, 49, 48, 44, 50), low=55),
    "choir pad": Family((50, 89, 95), ("pad",), low=57),
    "brass": Family((61, 56, 57, 62, 63), low=55),
    "sax": Family((64, 65, 66), low=52),
    "winds": Family((73, 71, 68, 75), low=60),
    "synth pad": Family((88, 89, 90, 94, 95), ("pad", "pad", "pad"), low=55),
    "synth lead": Family((80, 81, 87), ("lead", "lead", "lead"), low=57),
    "supersaw": Family((), ("supersaw",), low=57),
    "pluck": Family((108, 45), ("pluck", "pluck", "pluck"), low=60),
    "finger bass": Family((33,), strings=("finger",), drive=(-12, 12)),
    "pick bass": Family((34, 34, 33), strings=("pick", "pick"), drive=(-6, 22)),
    "slap bass": Family((36, 37), drive=(-12, 6)),
    "fretless bass": Family((35,), drive=(-12, 3)),
    "upright bass": Family((32,), strings=("upright",)),
    "synth bass": Family((38, 39), ("bass", "bass", "bass", "bass")),
    "sub bass": Family((), ("sub", "sub", "bass")),
    "reese bass": Family((), ("reese",)),
}
"""Name of a family -> what it is. Presets that sound like voices are left out: they are no vocals."""

_SHIFTS = (-4, -3, -2, 0, 0, 0, 0, 2, 3, 4)


@dataclass(frozen=True)
class Instrument:
    """A preset of a soundfont, a patch, or a string: exactly one of `font`, `patch` and `string` is set.

    Attributes:
        name: said in a song's description.
        low: MIDI number of the lowest note in chords.
        drive: gain of its amplifier in dB; None for none.
        transpose: see `SoundFont.play`.
    """

    name: str
    low: int
    drive: float | None = None
    font: SoundFont | None = None
    program: int = 0
    transpose: int = 0
    patch: Patch | None = None
    string: PluckedString | None = None

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Notes to float32 `[2, frames]`, `seconds` long."""
        if self.patch is not None:
            return play_patch(self.patch, notes, seconds, rng)
        if self.string is not None:
            return play_string(self.string, notes, seconds, rng)
        assert self.font is not None
        audio = self.font.play(notes, seconds, self.program, transpose=self.transpose)
        return audio.astype(np.float32)


def choose_instrument(family: str, sounds: Sequence[Sound], rng: np.random.Generator) -> Instrument:
    """An instrument of a family, from the soundfonts at hand or synthesised.

    Args:
        family: key of `FAMILIES`.
        sounds: at hand.
    """
    kinds = FAMILIES[family]
    drive = float(rng.uniform(*kinds.drive)) if kinds.drive else None
    fonts = [sound for sound in sounds if sound.kind == "soundfont"]
    held_out = any(sound.held_out for sound in sounds)
    choices: list[int | str] = [*kinds.programs, *kinds.patches, *(() if held_out else kinds.strings)]
    choice = choices[rng.integers(len(choices))]
    if choice in kinds.strings:
        return Instrument(
            f"{family} (string {choice})", kinds.low, drive, string=draw_string(str(choice), rng)
        )
    if isinstance(choice, str):
        return Instrument(f"{family} (patch {choice})", kinds.low, drive, patch=draw_patch(choice, rng))
    sound = fonts[rng.integers(len(fonts))]
    return Instrument(
        f"{family} ({sound.name} {choice})",
        kinds.low,
        drive,
        font=SoundFont(sound.path),
        program=choice,
        transpose=int(rng.choice(_SHIFTS)),
    )


def silence(seconds: float) -> np.ndarray:
    """float32 `[2, frames]` of zeros."""
    return np.zeros((2, round(seconds * RATE)), np.float32)
