"""Manners of singing: what separates a belted line from a whispered or rapped one."""

from dataclasses import dataclass

from hdemucs.errors import TrainingError


@dataclass(frozen=True)
class Manner:
    """How a line is sung; each singer varies around it.

    Attributes:
        vibrato: depth in cents, each way, of a long note.
        transition: time that a change of pitch takes, in seconds.
        damping: of such a change; below 1 it overshoots, by 10% at 0.6.
        scoop: share of the phrases that begin below the note and slide up, or fall off at their end.
        detune: standard deviation in cents of a note's intonation, and of its slow drift.
        breath: noise in the voice from 0 to 1.
        effort: dB an octave by which the spectrum above 500 Hz is brighter (pressed) than in speech.
        ring: gain in dB of the singer's formant at 3 kHz.
        rough: depth from 0 to 1 of a growl an octave below.
        melisma: share of the notes bound to the one before that go on with its vowel.
        consonants: whether syllables keep theirs.
        stretch: how many times its length a vowel may last; what is left of the note is silent.
        speech: share of the pitch that is the speech's own melody and not the notes'.
        free: whether syllables follow as they were spoken; notes then only say when a phrase is on.
    """

    vibrato: float = 45
    transition: float = 0.08
    damping: float = 0.65
    scoop: float = 0.35
    detune: float = 8
    breath: float = 0.03
    effort: float = 1.0
    ring: float = 3.0
    rough: float = 0.0
    melisma: float = 0.2
    consonants: bool = True
    stretch: float = 1e3
    speech: float = 0.0
    free: bool = False


MANNERS = {
    "sung": Manner(),
    "soft": Manner(vibrato=25, breath=0.2, effort=-1.5, ring=0, scoop=0.45, transition=0.1),
    "belted": Manner(vibrato=60, effort=3.5, ring=6, scoop=0.5, breath=0.0, transition=0.06),
    "opera": Manner(vibrato=95, effort=2.0, ring=11, scoop=0.15, transition=0.12, damping=0.8, breath=0.0),
    "falsetto": Manner(vibrato=40, effort=-3.0, ring=-3, breath=0.12, melisma=0.3),
    "growled": Manner(vibrato=20, effort=4.5, ring=5, rough=0.7, breath=0.1, scoop=0.6, detune=15),
    "tuned": Manner(vibrato=0, transition=0.012, damping=1.0, scoop=0.0, detune=0.5, melisma=0.35),
    "vowels": Manner(vibrato=40, consonants=False, melisma=0.1, effort=0.0, scoop=0.2, transition=0.1),
    "rapped": Manner(stretch=3.0, speech=0.75, effort=1.5, scoop=0, melisma=0, vibrato=0, transition=0.04),
    "whispered": Manner(speech=1.0, free=True, breath=1.0, effort=-1.0, ring=0, scoop=0, vibrato=0),
    "spoken": Manner(speech=1.0, free=True, effort=0.0, ring=0, scoop=0, melisma=0, vibrato=0),
}
"""Manners by name."""


def manner_of(style: str | Manner) -> Manner:
    """A manner by its name, or the one given.

    Raises:
        TrainingError: no such name.
    """
    if isinstance(style, Manner):
        return style
    if style not in MANNERS:
        raise TrainingError(f"{style!r} is no manner of singing; one of {', '.join(MANNERS)}")
    return MANNERS[style]
