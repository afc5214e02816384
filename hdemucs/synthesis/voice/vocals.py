"""The vocals of a song: a lead voice, in many songs backed by doubles, harmonies and a choir."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.mixing.effects import gain
from hdemucs.synthesis.mixing.production import Desk, mix_voice
from hdemucs.synthesis.score.arrangement import Arrangement
from hdemucs.synthesis.score.form import Form
from hdemucs.synthesis.score.melody import sing_melody
from hdemucs.synthesis.score.notes import Note
from hdemucs.synthesis.voice.ensemble import choir, doubles, harmony, humanised
from hdemucs.synthesis.voice.singer import in_range, sing
from hdemucs.synthesis.voice.speakers import Espeak
from hdemucs.synthesis.voice.voices import Voice, install_hint

# Odds of the singing styles in sung genres, calm and hard ones.
_CALM = {"sung": 0.5, "soft": 0.25, "belted": 0.1, "falsetto": 0.1, "opera": 0.02, "tuned": 0.03}
_HARD = {"sung": 0.35, "belted": 0.35, "growled": 0.2, "tuned": 0.05, "falsetto": 0.05}
_ABOVE_SPEECH = {"rapped": 3.0, "spoken": 3.0, "soft": 5.0, "belted": 10.0, "falsetto": 12.0, "growled": 8.0}
_USUALLY_ABOVE = 8.0  # semitones from the pitch of a voice's speech up to the middle of its melodies
_FORMANT_ODDS = 0.3  # odds of a formant-synthesis voice, the least like a singer, relative to other voices


@dataclass(frozen=True)
class Window:
    """The excerpt of a song that is rendered.

    Attributes:
        start: Start of the excerpt in seconds.
        seconds: Its duration in seconds.
    """

    start: float
    seconds: float

    def cut(self, notes: Sequence[Note]) -> list[Note]:
        """Select the notes that start in the window, with times relative to its start."""
        end = self.start + self.seconds
        return [
            replace(note, start=note.start - self.start) for note in notes if self.start <= note.start < end
        ]


@dataclass(frozen=True)
class Singing:
    """Who sings what, decided before anything is rendered.

    Attributes:
        lead: Lead voice.
        style: Its singing style.
        notes: Its melody through the full song.
        backing: Voices for harmonies and choir.
    """

    lead: Voice
    style: str
    notes: tuple[Note, ...]
    backing: tuple[Voice, ...]


def choose_voices(voices: Sequence[Voice], held_out: bool) -> list[Voice]:
    """Keep either the voices for training songs or those for held-out songs.

    Raises:
        SynthesisError: There are none; the message says what to install.
    """
    chosen = [singer for singer in voices if singer.held_out == held_out]
    if not chosen:
        raise SynthesisError(f"no {'held-out ' * held_out}voice is installed to sing; {install_hint()}")
    return chosen


def cast_singers(form: Form, voices: Sequence[Voice], held_out: bool, rng: np.random.Generator) -> Singing:
    """Choose voices and write the melody.

    Args:
        form: Form of the song.
        voices: Installed voices, both for training and held out.
        held_out: Whether to use held-out voices; otherwise those for training are used.
        rng: Random generator for every choice.

    Raises:
        SynthesisError: No such voice is installed.
    """
    chosen = choose_voices(voices, held_out)
    delivery = _draw(form.genre.singing, rng)
    style = _draw(_HARD if form.genre.gain > 0.55 else _CALM, rng) if delivery == "sung" else delivery
    odds = np.array([_FORMANT_ODDS if isinstance(singer.speaker, Espeak) else 1.0 for singer in chosen])
    drawn = rng.choice(len(chosen), size=4, p=odds / odds.sum())
    lead, *backing = (chosen[index] for index in drawn)
    centre = lead.home + _ABOVE_SPEECH.get(style, _USUALLY_ABOVE) + rng.uniform(-3, 3)
    notes = sing_melody(form, centre, rng, style=delivery)
    return Singing(lead, style, tuple(notes), tuple(backing))


def _draw(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


def render_vocals(
    form: Form,
    arrangement: Arrangement,
    singing: Singing,
    window: Window,
    desk: Desk,
    rng: np.random.Generator,
) -> np.ndarray:
    """Render the vocals in a window, float32 `[2, length]` at `RATE`."""
    notes, seconds, lead = window.cut(singing.notes), window.seconds, singing.lead
    words = int(rng.integers(2**32))
    formants = float(np.exp(rng.normal(0, 0.06)))
    main = sing(notes, seconds, lead, rng, style=singing.style, formants=formants, lyrics=words)
    stem = mix_voice(main[None], desk, rng, lead=True, pan=float(rng.normal(0, 0.04)))
    loud = [note for note in notes if _kind_at(form, note.start + window.start) in ("chorus", "outro")]

    def behind(audio: np.ndarray, low: float, high: float, pan: float = 0.0) -> np.ndarray:
        return mix_voice(audio, desk, rng, lead=False, pan=pan) * gain(rng.uniform(low, high))

    if loud and rng.random() < 0.35:
        takes = doubles(loud, seconds, lead, rng, style=singing.style, formants=formants, lyrics=words)
        stem = stem + behind(takes, -12, -3)
    if singing.style in ("rapped", "spoken"):
        return stem
    if loud and rng.random() < 0.4:
        singer = lead if rng.random() < 0.5 else singing.backing[0]
        line = harmony(loud, int(rng.choice([2, 2, -2, -3, 4, 7])), form.key.pitches)
        line = humanised(line if singer is lead else in_range(line, singer), rng)
        take = sing(line, seconds, singer, rng, formants=formants, lyrics=words)
        stem = stem + behind(take[None], -10, -3, float(rng.uniform(-0.8, 0.8)))
    held = window.cut(arrangement.heard(_held_roots(form), "vocals"))
    if held and rng.random() < 0.15:
        voices = choir(
            held, seconds, singing.backing, rng, size=int(rng.integers(3, 6)), scale=form.key.pitches
        )
        stem = stem + behind(voices, -12, -5)
    return stem


def _held_roots(form: Form) -> list[Note]:
    """Long notes on the chord roots of choruses, intro and outro, for a choir."""
    return [
        Note(
            form.grid.time(bar, 0), 0.97 * form.grid.bar, 55 + (section.chord(bar, 0, 1).root - 55) % 12, 0.7
        )
        for section in form.sections
        if section.kind in ("chorus", "outro", "intro")
        for bar in section.bars
    ]


def _kind_at(form: Form, time: float) -> str:
    bar = int(time / form.grid.bar)
    return next((section.kind for section in form.sections if bar in section.bars), "outro")
