"""Makes songs from a seed: writes, plays, sings and mixes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hdemucs.synthesis.drums.drummer import choose_kit, play_kit, tune_kit
from hdemucs.synthesis.instruments.base import silence
from hdemucs.synthesis.instruments.families import BASSES, HELD_OUT_SOLOISTS, SOLOISTS, choose_instrument
from hdemucs.synthesis.instruments.soundfont import fluidsynth
from hdemucs.synthesis.mixing.character import treat_drums
from hdemucs.synthesis.mixing.production import (
    Desk,
    balance,
    draw_desk,
    duck,
    master,
    mix_bass,
    mix_drums,
    mix_part,
)
from hdemucs.synthesis.mixing.release import release, spill
from hdemucs.synthesis.score.accompaniment import play_layer
from hdemucs.synthesis.score.arrangement import (
    EVERYBODY,
    Arrangement,
    draw_arrangement,
    sparse_arrangement,
)
from hdemucs.synthesis.score.basslines import play_bass
from hdemucs.synthesis.score.form import Form, make_form
from hdemucs.synthesis.score.genres import GENRES, Genre, Layer
from hdemucs.synthesis.score.grooves import Hit, play_groove
from hdemucs.synthesis.score.melody import solo_melody
from hdemucs.synthesis.score.notes import Note
from hdemucs.synthesis.sounds import Sound, choose_sounds, find_sounds
from hdemucs.synthesis.voice.units import world
from hdemucs.synthesis.voice.vocals import Singing, Window, cast_singers, choose_voices, render_vocals
from hdemucs.synthesis.voice.voices import Voice, find_voices

STEMS = ("drums", "bass", "other", "vocals")
_TRIES = 8  # excerpts to draw in search of one with singing
_SUNG_SHARE = 0.4  # fraction of an excerpt that must be sung to end the search
_ANY_BASS = 0.3  # fraction of songs with a bass that their genre does not ask for
_DISTORTED_BASS = 0.1  # fraction of songs with a distorted bass


@dataclass(frozen=True)
class Session:
    """What everybody needs to play their part of a song.

    Attributes:
        form: Plan of the song.
        arrangement: Who plays when.
        window: Excerpt that is rendered.
        desk: Mixing desk.
        sounds: Recorded sounds that instruments are made from.
        held_out: Whether it is a held-out song, which uses nothing that was added since the first of them.
    """

    form: Form
    arrangement: Arrangement
    window: Window
    desk: Desk
    sounds: Sequence[Sound]
    held_out: bool


@dataclass(frozen=True)
class Multitrack:
    """A song with its stems.

    Attributes:
        name: Genre and seed, usable as the name of a folder.
        stems: Name of each of `STEMS` -> audio, float32 `[2, length]` at `notes.RATE`.
        description: What the song is made from, for people to read.
    """

    name: str
    stems: dict[str, np.ndarray]
    description: dict[str, str | float | list[str]] = field(default_factory=dict)

    @property
    def mixture(self) -> np.ndarray:
        """The exact sum of the stems."""
        return np.sum([self.stems[name] for name in STEMS], axis=0)


def require_sounds(*, held_out: bool = False) -> None:
    """Check that songs can be made at all, before anything that takes long starts.

    Args:
        held_out: Whether songs with held-out sounds and voices are wanted.

    Raises:
        SynthesisError: A package, a soundfont or a voice is not installed; the message says what to install.
    """
    fluidsynth()
    world()
    choose_sounds(find_sounds(), held_out)
    choose_voices(find_voices(), held_out)


def make_song(
    seed: int,
    seconds: float | None = 32.0,
    *,
    held_out: bool = False,
    sparse: bool = False,
    voices: Sequence[Voice] | None = None,
    sounds: Sequence[Sound] | None = None,
) -> Multitrack:
    """Make a song. The same seed, sounds and voices give the same song.

    Args:
        seed: Seed of all random choices.
        seconds: Duration of an excerpt from anywhere in the song, in seconds; None for the full song, which
            lasts two to five minutes. Training uses shorter excerpts than the default.
        held_out: Whether to use the genres, instruments and voices that are reserved for evaluation.
        sparse: Whether a held-out song is thinned out to solos, a cappella, drum breaks and so on; training
            songs are thinned out at random.
        voices: Voices to choose from; None for all that are installed.
        sounds: Sounds to choose from; None for all that are installed.

    Raises:
        SynthesisError: No soundfont or no voice is installed; the message says what to install.
    """
    rng = np.random.default_rng([seed, held_out])
    # Held-out songs draw from the first eight alone, in an order that never changes: their scores compare.
    plan, singers, drums, bass, other, vocals, desk_rng, bus, extra = rng.spawn(9)
    chosen = choose_sounds(find_sounds() if sounds is None else sounds, held_out)
    genres = [genre for genre in GENRES if genre.held_out == held_out]
    genre = genres[plan.integers(len(genres))]
    form = make_form(genre, plan)
    singing = cast_singers(form, find_voices() if voices is None else voices, held_out, singers)
    arrangement = _arrange(form, held_out, sparse, extra)
    heard = replace(singing, notes=tuple(arrangement.heard(singing.notes, "vocals")))
    # A sparse held-out song has the same bars as the full one.
    window = _excerpt(form, singing if held_out else heard, seconds, plan)
    singing = heard
    desk = draw_desk(60 / form.grid.tempo, genre.gain, desk_rng)
    session = Session(form, arrangement, window, desk, chosen, held_out)

    drum_stem, kit_name, kicks = _drums(session, drums)
    bass_stem, bass_name = _bass(session, bass)
    other_stem, other_names = _other(session, other)
    if arrangement.has("soloist"):
        solo, name = _soloist(session, extra)
        other_stem += solo
        other_names.append(name)
    stems = {
        "drums": drum_stem,
        "bass": bass_stem,
        "other": other_stem,
        "vocals": render_vocals(form, arrangement, singing, window, desk, vocals),
    }
    if "electronic" in genre.kits and bus.random() < 0.5:
        depth, recovery = bus.uniform(2, 12), 60 / form.grid.tempo * bus.uniform(0.4, 0.9)
        for name in ("bass", "other"):
            stems[name] = duck(stems[name], kicks, depth, recovery)
    balanced = balance(stems, bus)
    live = not held_out and "electronic" not in genre.kits and extra.random() < 0.15
    mastered = master(spill(balanced, extra) if live else balanced, bus)
    medium = ["live"] if live else []
    if not held_out:
        mastered, done = release(mastered, extra)
        medium += done
    description: dict[str, str | float | list[str]] = {
        "style": genre.name,
        "seed": seed,
        "tempo": round(form.grid.tempo, 1),
        "mode": form.key.mode,
        "drums": kit_name,
        "bass": bass_name,
        "other": other_names,
        "vocals": f"{singing.lead.name}, {singing.style}",
        "medium": medium,
    }
    kind = "sparse " * sparse + "held-out " * held_out
    return Multitrack(f"{kind}{genre.name} {seed:06d}", mastered, description)


def _arrange(form: Form, held_out: bool, sparse: bool, rng: np.random.Generator) -> Arrangement:
    if not held_out:
        return draw_arrangement(form, rng)
    return sparse_arrangement(form, rng) if sparse else EVERYBODY


def _excerpt(form: Form, singing: Singing, seconds: float | None, rng: np.random.Generator) -> Window:
    """Choose an excerpt that starts just before a bar, preferably one with singing."""
    bars = form.sections[-1].bars.stop
    duration = bars * form.grid.bar + 2.0  # the last notes ring out
    if seconds is None or seconds >= duration:
        return Window(0.0, duration if seconds is None else seconds)
    last = max(0, int((duration - seconds) / form.grid.bar))
    window = Window(0.0, seconds)
    for _ in range(_TRIES):
        lead_in = rng.uniform(0.03, 0.4)  # so that no early note on the first beat is cut off
        window = Window(max(0.0, int(rng.integers(last + 1)) * form.grid.bar - lead_in), seconds)
        if sum(note.duration for note in window.cut(singing.notes)) > _SUNG_SHARE * seconds:
            break
    return window


def _drums(session: Session, rng: np.random.Generator) -> tuple[np.ndarray, str, list[float]]:
    """Render the drums: the stem, the name of the kit, and the times of the kicks in seconds."""
    form, window = session.form, session.window
    hits = [
        hit
        for section in form.sections
        for hit in play_groove(
            section.groove,
            form.grid,
            section.bars,
            section.energy,
            rng,
            fill=rng.random() < 0.7,
            crash=rng.random() < 0.6,
        )
    ]
    heard = [
        Hit(hit.start - window.start, hit.drum, hit.velocity)
        for hit in session.arrangement.heard(hits, "drums")
        if 0 <= hit.start - window.start < window.seconds
    ]
    if not heard:
        return silence(window.seconds), "none", []
    character = str(rng.choice(form.genre.kits))
    kit, name = choose_kit(character, {hit.drum for hit in heard}, session.sounds, rng)
    audio = play_kit(heard, tune_kit(kit, rng), window.seconds, rng)
    if not session.held_out:
        audio, treatment = treat_drums(audio, rng)
        name = f"{name}, {treatment}"
    return mix_drums(audio, session.desk, rng), name, [hit.start for hit in heard if hit.drum == "kick"]


def _bass(session: Session, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Render the bass: the stem, and the name of the instrument."""
    style = str(rng.choice(session.form.genre.bass))
    families: Sequence[str] = session.form.genre.basses
    if not session.held_out and rng.random() < _ANY_BASS:
        families = BASSES
    instrument = choose_instrument(str(rng.choice(families)), session.sounds, rng)
    notes = session.arrangement.heard(play_bass(session.form, style, rng), "bass")
    audio = instrument.play(session.window.cut(notes), session.window.seconds, rng)
    drive = instrument.drive
    if not session.held_out and rng.random() < _DISTORTED_BASS:
        drive = float(rng.uniform(22, 42))
    return mix_bass(audio, drive, session.desk, rng), instrument.name


def _other(session: Session, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Render the accompaniment: the stem, and role and instrument of each part."""
    form, window = session.form, session.window
    layers = _choose_layers(form.genre, rng)
    stem = silence(window.seconds)
    names = []
    for layer in layers:
        instrument = choose_instrument(str(rng.choice(layer.families)), session.sounds, rng)
        notes = window.cut(session.arrangement.heard(play_layer(form, layer, instrument.low, rng), "other"))
        if not notes:
            continue
        takes = [instrument.play(notes, window.seconds, rng)]
        for _ in range(_extra_takes(layer.role, rng)):
            takes.append(instrument.play(_next_take(notes, rng), window.seconds, rng))
        level = rng.uniform(-7, 1) + (-3 if layer.role == "pad" else 1 if layer.role == "power" else 0)
        part = mix_part(takes, layer.role, instrument.drive, session.desk, rng)
        stem += _set_level(part, level)
        names.append(f"{layer.role}: {instrument.name}")
    return stem, names


def _soloist(session: Session, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Render the soloist, for the stem `other`, and describe it."""
    families = HELD_OUT_SOLOISTS if session.held_out else SOLOISTS
    instrument = choose_instrument(str(rng.choice(families)), session.sounds, rng)
    notes = solo_melody(session.form, instrument.low + rng.uniform(6, 20), rng)
    notes = session.window.cut(session.arrangement.heard(notes, "soloist"))
    audio = instrument.play(notes, session.window.seconds, rng)
    part = mix_part([audio], "lead", instrument.drive, session.desk, rng)
    return _set_level(part, rng.uniform(-4, 4)), f"solo: {instrument.name}"


def _choose_layers(genre: Genre, rng: np.random.Generator) -> list[Layer]:
    """Draw the parts of the accompaniment: at least two or three, if the genre has that many."""
    layers = [layer for layer in genre.layers if rng.random() < layer.chance]
    rest = [layer for layer in genre.layers if layer not in layers]
    wanted = int(rng.integers(2, 4))
    while len(layers) < wanted and rest:
        layers.append(rest.pop(0))
    return layers


def _extra_takes(role: str, rng: np.random.Generator) -> int:
    """Draw the number of extra takes: guitars are often double-tracked, power chords quadruple-tracked."""
    if role not in ("power", "strum", "scratch", "riff") or rng.random() < 0.35:
        return 0
    return 3 if role == "power" and rng.random() < 0.3 else 1


def _next_take(notes: Sequence[Note], rng: np.random.Generator) -> list[Note]:
    """Vary the timing, tuning and loudness of notes, as a musician would in another take."""
    cents = rng.uniform(-0.06, 0.06)
    late = rng.uniform(0.0, 0.012)
    return [
        Note(
            max(0.0, note.start + late + 0.006 * rng.standard_normal()),
            note.duration,
            note.pitch + cents,
            float(np.clip(note.velocity + 0.05 * rng.standard_normal(), 0.05, 1)),
        )
        for note in notes
    ]


def _set_level(audio: np.ndarray, level: float) -> np.ndarray:
    """Scale audio to an RMS level in dB, measured without pauses so that these do not raise the level."""
    power = (audio**2).mean(axis=0)
    loud = power[power > power.max(initial=0) * 1e-3]
    if not len(loud):
        return audio
    return audio * np.float32(10 ** (level / 20) / np.sqrt(loud.mean()))
