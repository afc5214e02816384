"""Styles of singing: what separates a belted line from a whispered or rapped one."""

from dataclasses import dataclass

from hdemucs.errors import SynthesisError
from hdemucs.suggest import hint


@dataclass(frozen=True)
class SingingStyle:
    """How a line is sung; singers vary around it.

    Attributes:
        vibrato: Depth of vibrato on long notes, in cents, up and down.
        transition: Duration of a change in pitch, in seconds.
        damping: Damping ratio of a change in pitch; below 1 it overshoots, by 10% at 0.6.
        scoop: Probability of a slide up into the first note of a phrase; a fall at its end is half as likely.
        detune: Standard deviation of a note's intonation and of its slow drift, in cents.
        breath: Amount of breath noise from 0 to 1.
        effort: Spectral tilt above 500 Hz relative to speech, in dB per octave; positive is bright (pressed).
        ring: Gain of the singer's formant at 3 kHz, in dB.
        rough: Depth from 0 to 1 of a growl an octave below.
        melisma: Probability that a note slurred to the previous one continues its vowel.
        consonants: Whether syllables keep their consonants.
        stretch: Maximum duration of a vowel relative to the spoken one; the rest of the note is silent.
        speech: Share of the pitch contour that follows the speech instead of the notes, from 0 to 1.
        free: Whether syllables keep the rhythm of the speech; notes then only mark where phrases are.
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


SINGING_STYLES = {
    "sung": SingingStyle(),
    "soft": SingingStyle(vibrato=25, breath=0.2, effort=-1.5, ring=0, scoop=0.45, transition=0.1),
    "belted": SingingStyle(vibrato=60, effort=3.5, ring=6, scoop=0.5, breath=0.0, transition=0.06),
    "opera": SingingStyle(
        vibrato=95, effort=2.0, ring=11, scoop=0.15, transition=0.12, damping=0.8, breath=0.0
    ),
    "falsetto": SingingStyle(vibrato=40, effort=-3.0, ring=-3, breath=0.12, melisma=0.3),
    "growled": SingingStyle(vibrato=20, effort=4.5, ring=5, rough=0.7, breath=0.1, scoop=0.6, detune=15),
    "tuned": SingingStyle(vibrato=0, transition=0.012, damping=1.0, scoop=0.0, detune=0.5, melisma=0.35),
    "vowels": SingingStyle(vibrato=40, consonants=False, melisma=0.1, effort=0.0, scoop=0.2, transition=0.1),
    "rapped": SingingStyle(
        stretch=3.0, speech=0.75, effort=1.5, scoop=0, melisma=0, vibrato=0, transition=0.04
    ),
    "whispered": SingingStyle(speech=1.0, free=True, breath=1.0, effort=-1.0, ring=0, scoop=0, vibrato=0),
    "spoken": SingingStyle(speech=1.0, free=True, effort=0.0, ring=0, scoop=0, melisma=0, vibrato=0),
}
"""Styles by name."""


def singing_style(style: str | SingingStyle) -> SingingStyle:
    """Look up a style by name; a `SingingStyle` is returned as it is.

    Raises:
        SynthesisError: There is no style of that name.
    """
    if isinstance(style, SingingStyle):
        return style
    if style not in SINGING_STYLES:
        known = ", ".join(SINGING_STYLES)
        raise SynthesisError(
            f"no singing style {style!r}; choose one of {known}{hint(style, SINGING_STYLES)}"
        )
    return SINGING_STYLES[style]
