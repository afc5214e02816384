"""The table of instruments: families that genres ask for by name, and the presets in each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.instruments.base import Player, Preset
from hdemucs.synthesis.instruments.glide import glides
from hdemucs.synthesis.instruments.soundfont import programs
from hdemucs.synthesis.instruments.strings import strings
from hdemucs.synthesis.instruments.synthesizer import patches
from hdemucs.synthesis.score.notes import Note
from hdemucs.synthesis.sounds import Sound


@dataclass(frozen=True)
class Family:
    """Instruments that can stand in for one another.

    Attributes:
        presets: Presets, all equally likely; one that is listed twice is twice as likely.
        low: Lowest note of chords, as a MIDI note number.
        drive: Range of the amplifier's gain in dB; None for no amplifier.
    """

    presets: tuple[Preset, ...]
    low: int = 52
    drive: tuple[float, float] | None = None


@dataclass(frozen=True)
class Instrument:
    """An instrument of a family, ready to play.

    Attributes:
        name: Family and preset, for a song's description.
        low: Lowest note of chords, as a MIDI note number.
        drive: Gain of its amplifier in dB, applied in the mix and not by `play`; None for no amplifier.
        player: Player that renders the notes.
    """

    name: str
    low: int
    drive: float | None
    player: Player

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Render notes to float32 `[2, length]` at `RATE`; see `Player.play`."""
        return self.player.play(notes, seconds, rng)


# Presets that sound like voices are left out, since they would not be in the vocals stem.
FAMILIES: dict[str, Family] = {
    "piano": Family(programs(0, 1, 2, 3), low=54),
    "electric piano": Family(programs(4, 5) + patches("electric piano"), low=53),
    "clavinet": Family(programs(7), low=50),
    "organ": Family(programs(16, 17, 18, 19) + patches("organ"), low=53),
    "accordion": Family(programs(21, 23), low=57),
    "harmonica": Family(programs(22), low=60),
    "vibraphone": Family(programs(11, 12), low=57),
    "bell": Family(programs(8, 9, 10, 14) + patches("bell"), low=64),
    "harp": Family(programs(46), low=57),
    "nylon guitar": Family(programs(24) + strings("nylon"), low=50),
    "steel guitar": Family(programs(25) + strings("steel"), low=50),
    "jazz guitar": Family(programs(26), low=50),
    "clean guitar": Family(programs(27, 27, 26) + strings("electric", "electric"), low=52, drive=(-6, 12)),
    "muted guitar": Family(programs(28) + strings("palm"), low=52, drive=(-6, 10)),
    "crunch guitar": Family(
        programs(27, 27, 29, 25) + strings("electric", "electric"), low=40, drive=(12, 30)
    ),
    "distorted guitar": Family(
        programs(27, 27, 30, 29) + strings("electric", "electric"), low=40, drive=(28, 48)
    ),
    "banjo": Family(programs(105), low=55),
    "fiddle": Family(programs(40, 110), low=58),
    "strings": Family(programs(48, 49, 48, 44, 50), low=55),
    "choir pad": Family(programs(50, 89, 95) + patches("pad"), low=57),
    "brass": Family(programs(61, 56, 57, 62, 63), low=55),
    "sax": Family(programs(64, 65, 66), low=52),
    "winds": Family(programs(73, 71, 68, 75), low=60),
    "synth pad": Family(programs(88, 89, 90, 94, 95) + patches("pad", "pad", "pad"), low=55),
    "synth lead": Family(programs(80, 81, 87) + patches("lead", "lead", "lead"), low=57),
    "supersaw": Family(patches("supersaw"), low=57),
    "pluck": Family(programs(108, 45) + patches("pluck", "pluck", "pluck"), low=60),
    "finger bass": Family(programs(33) + strings("finger"), drive=(-12, 12)),
    "pick bass": Family(programs(34, 34, 33) + strings("pick", "pick"), drive=(-6, 22)),
    "slap bass": Family(programs(36, 37) + strings("slap", "slap"), drive=(-12, 6)),
    "fretless bass": Family(programs(35) + glides("fretless"), drive=(-12, 3)),
    "upright bass": Family(programs(32) + strings("upright")),
    "synth bass": Family(
        programs(38, 39) + patches("bass", "bass", "bass", "bass") + glides("fm", "fm", "wobble")
    ),
    "sub bass": Family(patches("sub", "sub", "bass") + glides("808")),
    "reese bass": Family(patches("reese")),
}

BASSES = tuple(family for family in FAMILIES if family.endswith("bass"))
"""Families that may play the bass."""

SOLOISTS = tuple(family for family in FAMILIES if not family.endswith(("bass", "pad")))
"""Families that may play a melody by themselves."""

HELD_OUT_SOLOISTS = (
    "piano", "organ", "vibraphone", "steel guitar", "clean guitar", "distorted guitar", "fiddle", "brass",
    "sax", "winds", "synth lead", "pluck",
)  # fmt: skip
"""Those of `SOLOISTS` that play in held-out songs, in an order that never changes."""


def choose_instrument(family: str, sounds: Sequence[Sound], rng: np.random.Generator) -> Instrument:
    """Draw an instrument of a family.

    Args:
        family: Key of `FAMILIES`.
        sounds: Recorded sounds to choose from, either all for training or all held out.
        rng: Random generator for every choice.
    """
    row = FAMILIES[family]
    drive = float(rng.uniform(*row.drive)) if row.drive else None
    held_out = any(sound.held_out for sound in sounds)
    presets = [preset for preset in row.presets if preset.in_held_out or not held_out]
    player = presets[rng.integers(len(presets))].draw(sounds, rng)
    return Instrument(f"{family} ({player.label})", row.low, drive, player)
