"""What scores are made of, and instruments and singers play."""

from dataclasses import dataclass

RATE = 44100
"""Sample rate of all that is rendered, in Hz."""


@dataclass(frozen=True)
class Note:
    """One note of one voice.

    Attributes:
        start, duration: in seconds.
        pitch: MIDI number, 69 for 440 Hz; fractions are cents.
        velocity: loudness from 0 to 1.
    """

    start: float
    duration: float
    pitch: float
    velocity: float
