"""The interface of every kind of instrument: a preset to draw instruments from, and a player."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound


class Player(Protocol):
    """A single instrument with fixed parameters."""

    @property
    def label(self) -> str:
        """Kind and preset, such as `patch organ`, for a song's description."""
        ...

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Render notes.

        Args:
            notes: Notes in any order; may overlap. Those that start before 0 or after the end are skipped.
            seconds: Duration of the result in seconds, above 0. Notes still sounding at the end are cut off.
            rng: Random generator for everything that varies from take to take.

        Returns:
            Float32 `[2, length]` at `RATE`; silence before the first note and soon after the last.
        """
        ...


class Preset(Protocol):
    """An entry of a family, such as a General MIDI program or a kind of patch.

    Attributes:
        in_held_out: Whether held-out songs, which are for evaluation only, may use it too.
    """

    @property
    def in_held_out(self) -> bool: ...

    def draw(self, sounds: Sequence[Sound], rng: np.random.Generator) -> Player:
        """Draw an instrument.

        Args:
            sounds: Recorded sounds to use, including at least one soundfont.
            rng: Random generator for the instrument's parameters.
        """
        ...


def silence(seconds: float) -> np.ndarray:
    """Create silence of a duration in seconds: float32 zeros `[2, length]` at `RATE`."""
    return np.zeros((2, round(seconds * RATE)), np.float32)
