"""Which stems of which songs go together: matched in tempo and key, their beats at the same times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdemucs.errors import TrainingError
from hdemucs.training.automix.analysis import Analysis, fit_beats

MAX_TEMPO = 0.15
"""Largest change of tempo of a stem ("Realistic remix of tracks" in arXiv 2111.03600)."""

MAX_PITCH = 3
"""Largest change of pitch of a stem, in semitones (the same)."""

UNPITCHED = ("drums", "percussion")
"""Stems whose key does not matter."""

_TRIES = 8  # of random passages of a song, of which the fullest is taken
_UNSTEADY = 0.1  # deviation of the beats from a steady one, as a share of its period


@dataclass(frozen=True)
class Part:
    """A stem of a new song, and what is done to it.

    Attributes:
        song: where it is from, an index.
        start: in that song, in seconds, half a beat before a beat.
        tempo: 1.1 is played faster by 10%.
        pitch: change in semitones.
    """

    song: int
    start: float
    tempo: float = 1.0
    pitch: int = 0


@dataclass(frozen=True)
class Recipe:
    """How a new song is made.

    Attributes:
        name: of its folder.
        seconds: its length.
        period: seconds between its beats; the first is half of it after the start.
        parts: a stem for each source.
    """

    name: str
    seconds: float
    period: float
    parts: dict[str, Part]


@dataclass(frozen=True)
class _Passage:
    start: float
    period: float
    fullness: float


def plan(
    songs: Sequence[Analysis], sources: Sequence[str], number: int, *, seed: int, seconds: float
) -> Recipe:
    """The recipe of the new song of this number; it depends on nothing else.

    One stem at random stays as it is and sets tempo and key; each song has its turn to give it. Every other
    stem is of another song, drawn from those that match; where none does, of the same song as the first.
    Drums that set the tempo leave the key to the next stem.

    Args:
        songs: to choose from.
        sources: of the new song.
        number: 0 and up.
        seed: of all choices.
        seconds: longest length; at most four fifths of the song that sets the tempo, so others suffice.

    Raises:
        TrainingError: the songs have no passage with a steady beat, or none with all sources.
    """
    order = np.random.default_rng([seed, 0, number // len(songs)]).permutation(len(songs))
    rng = np.random.default_rng([seed, 1, number])
    for step in range(len(songs)):
        leader = int(order[(number + step) % len(songs)])
        length = min(seconds, 0.8 * songs[leader].seconds)
        parts = _Mixer(songs, leader, length, rng).mix(sources)
        if parts is not None:
            period, chosen = parts
            return Recipe(f"remix_{seed}_{number:05d}", length, period, {s: chosen[s] for s in sources})
    raise TrainingError(
        f"no {', '.join(sources)} of the {len(songs)} songs go together: too few have a steady beat; "
        "add songs, or ask for shorter ones"
    )


class _Mixer:
    """Choices for one new song."""

    def __init__(
        self, songs: Sequence[Analysis], leader: int, seconds: float, rng: np.random.Generator
    ) -> None:
        self._songs = songs
        self._leader = leader
        self._seconds = seconds
        self._rng = rng

    def mix(self, sources: Sequence[str]) -> tuple[float, dict[str, Part]] | None:
        """Period and part of each source; None if the song cannot lead, or a source is not to be had."""
        leader = self._songs[self._leader]
        own = [source for source in sources if source in leader.loudness]
        order = [str(source) for source in self._rng.permutation(own)]
        passage = self._passage(leader, order[0], 1.0, leader.period) if order else None
        if passage is None:
            return None
        parts = {order[0]: Part(self._leader, passage.start)}
        key = None if order[0] in UNPITCHED else leader.chroma
        used = {self._leader}
        for source in self._rng.permutation([source for source in sources if source not in parts]):
            source = str(source)
            pitched = source not in UNPITCHED
            part = self._other(source, passage.period, key if pitched else None, used)
            if part is None:
                if source not in leader.loudness:
                    return None
                part = Part(self._leader, passage.start)
            if pitched and key is None:
                key = self._songs[part.song].chroma
            used.add(part.song)
            parts[source] = part
        return passage.period, parts

    def _other(self, source: str, period: float, key: list[float] | None, used: set[int]) -> Part | None:
        """A stem of a song that is not used yet, at this period and in this key; None if no song has it."""
        for index in self._rng.permutation(len(self._songs)).tolist():
            song = self._songs[index]
            if index in used or source not in song.loudness:
                continue
            pitch = 0
            if source not in UNPITCHED:
                shift = best_pitch(key, song.chroma)
                if shift is None:
                    continue
                pitch = shift
            octave = 2.0 ** round(math.log2(period / song.period))
            if abs(octave * song.period / period - 1) > MAX_TEMPO:
                continue
            passage = self._passage(song, source, octave, period)
            if passage is not None:
                return Part(index, passage.start, passage.period / period, pitch)
        return None

    def _passage(self, song: Analysis, source: str, octave: float, period: float) -> _Passage | None:
        """The fullest of some passages with a steady beat, at half or double time if `octave` is not 1."""
        beats = np.asarray(song.beats)
        need = self._seconds * octave * song.period / period
        first = np.flatnonzero((beats > octave * song.period) & (beats + need * 1.02 < song.seconds))
        best = None
        for index in self._rng.permutation(first)[:_TRIES].tolist():
            inside = beats[(beats >= beats[index]) & (beats < beats[index] + need)].tolist()
            if len(inside) < 4:
                continue
            beat, local, error = fit_beats(inside)
            ratio = octave * local / period
            if error > _UNSTEADY * local or abs(ratio - 1) > MAX_TEMPO:
                continue
            start = beat - octave * local / 2
            fullness = song.share_sounding(source, start, need)
            if best is None or fullness > best.fullness:
                best = _Passage(start, octave * local, fullness)
        return best


def best_pitch(key: list[float] | None, chroma: list[float] | None) -> int | None:
    """Semitones that bring a song's notes closest to a key (in L1 distance); None if that is too far.

    Args:
        key: 12 shares; None where any key will do.
        chroma: of the song; None if it has no notes, and so no place among stems that have.
    """
    if chroma is None:
        return None
    if key is None:
        return 0
    shifts = range(-5, 7)
    distances = [np.abs(np.asarray(key) - np.roll(chroma, shift)).sum() for shift in shifts]
    best = shifts[int(np.argmin(distances))]
    return best if abs(best) <= MAX_PITCH else None
