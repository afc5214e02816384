"""Drum grooves: patterns, fills, ghost notes and a drummer's imprecision."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import yaml

from hdemucs.synthesis.score.timing import Grid

_LEVELS = {"X": 0.95, "x": 0.8, "o": 0.55, "g": 0.28, "?": 0.5}

GROOVES: dict[str, dict[str, str]] = yaml.safe_load(
    (files("hdemucs.synthesis.score") / "grooves.yaml").read_text(encoding="utf-8")
)
"""Name of a groove -> drum -> pattern of one bar, in the notation that the file explains."""

_FILLS = (
    {"snare": "............xoxX"},
    {"snare": "........xoxoxoxX"},
    {"snare": "........xoo.....", "high tom": "...........xx...", "low tom": ".............xxX"},
    {"high tom": "........xx......", "mid tom": "..........xx....", "low tom": "............xxXX"},
    {"snare": "........x..x..x.", "kick": "..........x..x.x"},
    {"snare": "....x..x..x..x.X", "kick": "X.....x.....x..."},
    {"snare": "ggooooxxxxxxXXXX"},
    {"low tom": "........x.x.x.x.", "kick": "........X...X..."},
    {"snare": "............X.X."},
)


@dataclass(frozen=True)
class Hit:
    """A drum hit.

    Attributes:
        start: Time in seconds.
        drum: Name of the drum, a key of `kits.DRUMS`.
        velocity: Loudness from 0 to 1.
    """

    start: float
    drum: str
    velocity: float


@dataclass(frozen=True)
class Groove:
    """Drum pattern of one bar, as played in all sections of a kind.

    Attributes:
        strokes: Drum -> level at each step, 0 for no hit; strokes with negative levels are optional.
    """

    strokes: dict[str, tuple[float, ...]]

    @property
    def kick(self) -> list[int]:
        """Steps on which the kick drum is hit."""
        return [step for step, level in enumerate(self.strokes.get("kick", ())) if level > 0]


def make_groove(name: str, steps: int, rng: np.random.Generator) -> Groove:
    """Vary a groove for one song: add or drop a kick, swap hi-hat for ride, add ghost notes or percussion.

    Args:
        name: Key of `GROOVES`.
        steps: Steps per bar; longer patterns are cut, shorter ones repeated.
        rng: Random generator for the variations.
    """
    strokes = {drum: list(_levels(pattern, steps)) for drum, pattern in GROOVES[name].items()}
    weak = [step for step in range(steps) if step % 4 == 2]
    if "kick" in strokes and rng.random() < 0.35 and weak:
        step = int(rng.choice(weak))
        strokes["kick"][step] = 0.0 if strokes["kick"][step] else 0.75
    if "closed" in strokes and rng.random() < 0.15:
        strokes["ride"] = strokes.pop("closed")
    if "snare" in strokes and rng.random() < 0.25:
        for step in range(1, steps, 2):
            if not strokes["snare"][step] and rng.random() < 0.25:
                strokes["snare"][step] = -0.25
    if rng.random() < 0.12:
        extra = str(rng.choice(["shaker", "tambourine"]))
        strokes.setdefault(
            extra, [0.7 if step % 4 == 0 else 0.45 if step % 2 == 0 else 0.25 for step in range(steps)]
        )
    return Groove({drum: tuple(levels) for drum, levels in strokes.items()})


def play_groove(
    groove: Groove,
    grid: Grid,
    bars: range,
    energy: float,
    rng: np.random.Generator,
    *,
    fill: bool,
    crash: bool,
) -> list[Hit]:
    """Play the drums of a section.

    Args:
        groove: Groove to repeat.
        grid: Metre and tempo.
        bars: Bars of the section, counted from the start of the song.
        energy: Intensity from 0 to 1: below 0.35 only part of the kit is played, above 0.8 there are more
            crashes, and above 0.85 the hi-hat is open.
        rng: Random generator for optional hits, fills and imprecision.
        fill: Whether the section ends with a fill.
        crash: Whether the section starts with a crash cymbal.

    Returns:
        Hits, not in order of time.
    """
    hits: list[Hit] = []
    resting = {"kick", "snare", "rim", "clap"} if rng.random() < 0.5 else {"snare", "clap", "crash"}
    for bar in bars:
        filling = _fill(bar, bars, fill, grid, rng)
        for drum, levels in groove.strokes.items():
            if energy < 0.35 and drum in resting:
                continue
            played = "open" if drum == "closed" and energy > 0.85 else drum
            for step, level in enumerate(levels):
                in_fill = filling is not None and step >= filling[1]
                if level and not in_fill and (level > 0 or rng.random() < 0.4):
                    hits.append(_hit(grid, bar, step, played, abs(level), energy, rng))
        if filling is not None:
            hits += [_hit(grid, bar, step, drum, level, energy, rng) for drum, step, level in filling[0]]
        if crash and (bar == bars[0] or (energy > 0.8 and (bar - bars[0]) % 4 == 0 and rng.random() < 0.5)):
            hits.append(_hit(grid, bar, 0, "crash", 0.9, energy, rng))
    return hits


def _fill(
    bar: int, bars: range, at_end: bool, grid: Grid, rng: np.random.Generator
) -> tuple[list[tuple[str, int, float]], int] | None:
    """Draw a bar's fill, if it has one: hits as (drum, step, level), and the step at which it starts."""
    if not ((at_end and bar == bars[-1]) or ((bar - bars[0]) % 4 == 3 and rng.random() < 0.25)):
        return None
    pattern = _FILLS[rng.integers(len(_FILLS))]
    strokes = [
        (drum, step, level)
        for drum, text in pattern.items()
        for step, level in enumerate(_levels(text, 16))
        if level and step < grid.steps
    ]
    if not strokes:
        return None
    return strokes, min(step for _, step, _ in strokes)


def _hit(
    grid: Grid, bar: int, step: int, drum: str, level: float, energy: float, rng: np.random.Generator
) -> Hit:
    """Create a hit with a drummer's imprecision in time and loudness."""
    velocity = level * (0.75 + 0.3 * energy) * (1 + 0.07 * rng.standard_normal())
    start = grid.time(bar, step) + 0.004 * rng.standard_normal()
    return Hit(max(start, 0.0), drum, float(np.clip(velocity, 0.05, 1.0)))


def _levels(pattern: str, steps: int) -> Sequence[float]:
    """Level at each step of a bar; the pattern is cut or repeated to fill the bar."""
    values = [-_LEVELS[mark] if mark == "?" else _LEVELS.get(mark, 0.0) for mark in pattern]
    return [values[step % len(values)] for step in range(steps)]
