"""What styles of music are made of: tempo, feel, harmony, grooves, bass lines and who accompanies how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Layer:
    """One accompanying part that a style may have.

    Attributes:
        role: how it plays, a key of `accompaniment.ROLES`.
        families: instruments to choose from, keys of `instruments.FAMILIES`.
        chance: that a song has it.
        entry: energy of a section from which it plays, 0 to 1.
    """

    role: str
    families: Sequence[str]
    chance: float = 0.6
    entry: float = 0.3


@dataclass(frozen=True)
class Genre:
    """A style.

    Attributes:
        tempo: range in beats a minute.
        progressions: families in `harmony.PROGRESSIONS`.
        grooves: in `grooves.GROOVES`, from calm to loud.
        bass: ways of playing in `basslines`.
        basses: families of bass instruments.
        layers: accompanying parts.
        kits: `acoustic`, `electronic`.
        swing: range of `Grid.swing`; swung: steps in half a pair.
        beats, division: of `Grid`.
        singing: style of the voice -> share of songs.
        gain: drive of amplifiers and buses, 0 to 1.
        held_out: for held-out songs only.
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
    table = yaml.safe_load((files("hdemucs.synthesis.score") / "genres.yaml").read_text())
    genres = []
    for name, entries in table.items():
        layers = tuple(Layer(**layer) for layer in entries.pop("layers"))
        fixed: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()
        }
        genres.append(Genre(name=name, layers=layers, **fixed))
    return tuple(genres)


GENRES = _read_genres()
"""All styles; those that are held out are heard in held-out songs only."""
