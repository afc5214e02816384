"""What every kind of instrument provides: a preset to draw instruments from, and an instrument that plays."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound


class Player(Protocol):
    """A single instrument, all its parameters fixed."""

    @property
    def label(self) -> str:
        """Kind and preset, for a song's description, as in `patch organ`."""
        ...

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Render notes.

        Args:
            notes: In any order, overlapping or not. Those that start before 0 or after the end are skipped.
            seconds: Length of the result, above 0. Notes still sounding at the end are cut off.
            rng: Source of everything that varies from take to take.

        Returns:
            Float32 `[2, length]` at `RATE`; silence before the first note and soon after the last.
        """
        ...


class Preset(Protocol):
    """An entry of a family, such as a General MIDI program or a kind of patch.

    Attributes:
        in_held_out: Whether held-out songs, which only measure a model, may use it too.
    """

    @property
    def in_held_out(self) -> bool: ...

    def draw(self, sounds: Sequence[Sound], rng: np.random.Generator) -> Player:
        """Draw an instrument.

        Args:
            sounds: Recorded sounds it may be made from, among them at least one soundfont.
            rng: Source of the instrument's parameters.
        """
        ...


def silence(seconds: float) -> np.ndarray:
    """Float32 zeros `[2, length]` at `RATE`."""
    return np.zeros((2, round(seconds * RATE)), np.float32)
