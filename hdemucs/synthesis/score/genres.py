"""Genres: their tempo, feel, harmony, grooves, bass lines and accompaniment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Layer:
    """A part of the accompaniment that songs of a genre may have.

    Attributes:
        role: Playing style: a key of `accompaniment.ROLES`, or `lead` for melodies.
        families: Instrument families to choose from.
        chance: Probability that a song has this part.
        entry: Lowest section energy at which it plays, 0 to 1.
    """

    role: str
    families: Sequence[str]
    chance: float = 0.6
    entry: float = 0.3


@dataclass(frozen=True)
class Genre:
    """A genre of music.

    Attributes:
        name: Name, used in a song's title and description.
        tempo: Lowest and highest tempo in beats per minute.
        progressions: Families of chord progressions, keys of `harmony.PROGRESSIONS`.
        grooves: Drum grooves, keys of `grooves.GROOVES`; songs play the first two.
        bass: Styles of bass line, keys of `basslines.STYLES`.
        basses: Families of bass instruments.
        layers: Parts of the accompaniment.
        kits: Characters of its drum kits: `acoustic`, `electronic` or both.
        swing: Smallest and largest swing, see `Grid.swing`.
        swung: Which notes swing, see `Grid.swung`.
        beats: Beats per bar.
        division: Steps per beat.
        singing: Vocal style -> probability; styles are `sung`, `rapped` and `spoken`.
        gain: Drive of amplifiers and buses, 0 (clean) to 1.
        held_out: Whether it is reserved for held-out songs.
    """

    name: str
    tempo: tuple[float, float]
    progressions: Sequence[str]
    grooves: Sequence[str]
    bass: Sequence[str]
    basses: Sequence[str]
    layers: Sequence[Layer]
    kits: Sequence[str] = ("acoustic",)
    swing: tuple[float, float] = (0.0, 0.0)
    swung: int = 2
    beats: int = 4
    division: int = 4
    singing: Mapping[str, float] = field(default_factory=lambda: {"sung": 1.0})
    gain: float = 0.4
    held_out: bool = False


def _read_genres() -> tuple[Genre, ...]:
    table = yaml.safe_load((files("hdemucs.synthesis.score") / "genres.yaml").read_text(encoding="utf-8"))
    genres = []
    for name, entries in table.items():
        layers = tuple(Layer(**layer) for layer in entries.pop("layers"))
        fixed: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()
        }
        genres.append(Genre(name=name, layers=layers, **fixed))
    return tuple(genres)


GENRES = _read_genres()
"""All genres, in the order of the table."""
