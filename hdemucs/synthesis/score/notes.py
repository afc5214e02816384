"""Notes: the elements of a score, which instruments play and singers sing."""

from dataclasses import dataclass

RATE = 44100
"""Sample rate at which all songs are rendered, in Hz."""


@dataclass(frozen=True)
class Note:
    """A note.

    Attributes:
        start: Onset in seconds.
        duration: Duration in seconds.
        pitch: MIDI note number, 69 for 440 Hz; the fraction detunes it, 0.01 being one cent.
        velocity: Loudness from 0 to 1.
    """

    start: float
    duration: float
    pitch: float
    velocity: float
