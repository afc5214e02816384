"""Arrangements: who plays when. Records thin out: solos, a cappella, drum breaks, instrumentals.

Parts are silent for passages of whole bars. A soloist plays a melody with the others or alone: a model that
never hears an instrument alone takes every lone melody for a voice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from hdemucs.synthesis.score.form import Form

PARTS = ("drums", "bass", "other", "soloist", "vocals")
"""The soloist belongs to the stem `other`."""

_THINNED = 0.45  # of all songs
_THROUGHOUT = 0.35  # of these: one line-up for the full song
_BARS = (2, 4, 8)  # of a passage

# Initials of those of `PARTS` that play -> how often.
_LINE_UPS = {
    "dbov": 4.0, "dbo": 1.2, "dbos": 1.2, "dbs": 0.7, "bos": 0.4, "ds": 0.2, "os": 0.6, "bs": 0.3, "s": 1.6,
    "o": 0.8, "d": 1.0, "b": 0.5, "v": 1.1, "ov": 1.0, "bv": 0.4, "dv": 0.6, "db": 0.9, "do": 0.5, "bo": 0.6,
    "dbv": 0.6, "bov": 0.5, "dov": 0.5,
}  # fmt: skip
# In any three passages in a row, every stem sounds: one that is silent for a full song has no meaningful SDR.
_SPARSE = ("dbov", "s", "db", "v", "dbos", "d", "ov", "b")
_SPARSE_SECONDS = 4.0  # of a passage, rounded to whole bars


class _Timed(Protocol):
    @property
    def start(self) -> float: ...


_Event = TypeVar("_Event", bound=_Timed)


@dataclass(frozen=True)
class Passage:
    """A part of a song with one line-up.

    Attributes:
        end: Time in seconds at which it ends; it starts where the one before ends.
        parts: Those of `PARTS` that play.
    """

    end: float
    parts: frozenset[str]


@dataclass(frozen=True)
class Arrangement:
    """Who plays when.

    Attributes:
        passages: In order, from the start of the song; the last one lasts to its end.
    """

    passages: tuple[Passage, ...]

    def has(self, part: str) -> bool:
        """Whether a part plays at all."""
        return any(part in passage.parts for passage in self.passages)

    def heard(self, events: Sequence[_Event], part: str) -> list[_Event]:
        """Keep the notes or hits of a part that start where it plays."""
        return [event for event in events if part in self._at(event.start).parts]

    def _at(self, time: float) -> Passage:
        """The passage at a time in seconds; notes may come a little before their beat."""
        late = time + 0.05
        return next((passage for passage in self.passages if late < passage.end), self.passages[-1])


EVERYBODY = Arrangement((Passage(np.inf, frozenset({"drums", "bass", "other", "vocals"})),))
"""The band plays what is written, without a soloist."""


def draw_arrangement(form: Form, rng: np.random.Generator) -> Arrangement:
    """Draw an arrangement: all parts throughout, one other line-up, or one for each passage."""
    if rng.random() >= _THINNED:
        return EVERYBODY
    if rng.random() < _THROUGHOUT:
        return Arrangement((Passage(np.inf, _line_up(rng)),))
    passages = []
    bar = 0
    while bar < form.sections[-1].bars.stop:
        bar += int(rng.choice(_BARS))
        passages.append(Passage(bar * form.grid.bar, _line_up(rng)))
    return Arrangement(tuple(passages))


def sparse_arrangement(form: Form, rng: np.random.Generator) -> Arrangement:
    """Plan a sparse arrangement for a held-out song.

    Every part plays alone at times, and every stem rests for at least half of the song. The passages come in
    an order that never changes, so that scores compare; only the first one is drawn.

    Args:
        form: Plan of the song.
        rng: Random generator for the first passage.
    """
    first = int(rng.integers(len(_SPARSE)))
    bars = max(1, round(_SPARSE_SECONDS / form.grid.bar))
    passages = [
        Passage((bar + bars) * form.grid.bar, _parts(_SPARSE[(first + index) % len(_SPARSE)]))
        for index, bar in enumerate(range(0, form.sections[-1].bars.stop, bars))
    ]
    return Arrangement(tuple(passages))


def _line_up(rng: np.random.Generator) -> frozenset[str]:
    odds = np.array(list(_LINE_UPS.values()))
    return _parts(str(rng.choice(list(_LINE_UPS), p=odds / odds.sum())))


def _parts(initials: str) -> frozenset[str]:
    return frozenset(part for part in PARTS if part[0] in initials)
