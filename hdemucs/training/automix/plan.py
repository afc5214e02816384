"""Plans remixes: chooses stems that match in tempo and key, and aligns their beats."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdemucs.errors import TrainingError
from hdemucs.training.automix.analysis import Analysis, fit_beats

MAX_TEMPO = 0.15
"""Largest change of a stem's tempo ("Realistic remix of tracks" in arXiv 2111.03600)."""

MAX_PITCH = 3
"""Largest change of a stem's pitch in semitones (same source)."""

UNPITCHED = ("drums", "percussion")
"""Stems that need not match in key."""

_TRIES = 8  # random passages tried per song, of which the most active is used
_UNSTEADY = 0.1  # largest RMS deviation from a steady beat, as a fraction of its period


@dataclass(frozen=True)
class RemixPart:
    """A stem of a remix: where it comes from, and how it is changed.

    Attributes:
        song: Index of the song it comes from.
        start: Where it starts in that song, in seconds; half a beat before a beat.
        tempo: Tempo factor: 1.1 is 10% faster.
        pitch: Change of pitch in semitones.
    """

    song: int
    start: float
    tempo: float = 1.0
    pitch: int = 0


@dataclass(frozen=True)
class RemixPlan:
    """Everything that determines a remix.

    Attributes:
        name: Name of its folder.
        seconds: Its duration in seconds.
        period: Beat period in seconds; the first beat is half a period after the start.
        parts: Part of each source, by name.
    """

    name: str
    seconds: float
    period: float
    parts: dict[str, RemixPart]


@dataclass(frozen=True)
class _Passage:
    start: float
    period: float
    activity: float


def plan_remix(
    songs: Sequence[Analysis], sources: Sequence[str], number: int, *, seed: int, seconds: float
) -> RemixPlan:
    """Plan one remix; the same arguments always give the same plan.

    Songs take turns as the leader, which contributes one random stem as it is. That stem sets the tempo and
    the key; if it is drums, the next stem sets the key. Every other stem is drawn from the songs that match,
    each from a different one; if none matches, it comes from the leader.

    Args:
        songs: Songs to choose from.
        sources: Names of the sources of the remix.
        number: Number of the remix, from 0.
        seed: Seed of all choices.
        seconds: Maximum duration in seconds; a remix is never longer than four fifths of its leader, so that
            other songs are long enough.

    Raises:
        TrainingError: No song has a passage with a steady beat, or the songs together lack a source.
    """
    order = np.random.default_rng([seed, 0, number // len(songs)]).permutation(len(songs))
    rng = np.random.default_rng([seed, 1, number])
    for turn in range(len(songs)):
        leader = int(order[(number + turn) % len(songs)])
        length = min(seconds, 0.8 * songs[leader].seconds)
        parts = _Mixer(songs, leader, length, rng).mix(sources)
        if parts is not None:
            period, chosen = parts
            return RemixPlan(f"remix_{seed}_{number:05d}", length, period, {s: chosen[s] for s in sources})
    raise TrainingError(
        f"no remix of {', '.join(sources)} can be made from the {len(songs)} songs, as too few have a steady "
        "beat; add songs, or ask for shorter remixes"
    )


class _Mixer:
    """Chooses the parts of one remix."""

    def __init__(
        self, songs: Sequence[Analysis], leader: int, seconds: float, rng: np.random.Generator
    ) -> None:
        self._songs = songs
        self._leader = leader
        self._seconds = seconds
        self._rng = rng

    def mix(self, sources: Sequence[str]) -> tuple[float, dict[str, RemixPart]] | None:
        """Period of the beat and part of each source; None if there is no beat, or a source is missing."""
        leader = self._songs[self._leader]
        own = [source for source in sources if source in leader.loudness]
        order = [str(source) for source in self._rng.permutation(own)]
        passage = self._passage(leader, order[0], 1.0, leader.period) if order else None
        if passage is None:
            return None
        parts = {order[0]: RemixPart(self._leader, passage.start)}
        key = None if order[0] in UNPITCHED else leader.chroma
        used = {self._leader}
        for source in self._rng.permutation([source for source in sources if source not in parts]):
            source = str(source)
            pitched = source not in UNPITCHED
            part = self._other(source, passage.period, key if pitched else None, used)
            if part is None:
                if source not in leader.loudness:
                    return None
                part = RemixPart(self._leader, passage.start)
            if pitched and key is None:
                key = self._songs[part.song].chroma
            used.add(part.song)
            parts[source] = part
        return passage.period, parts

    def _other(self, source: str, period: float, key: list[float] | None, used: set[int]) -> RemixPart | None:
        """Find a part with this beat period and key in a song not used yet; None if no song has one."""
        for index in self._rng.permutation(len(self._songs)).tolist():
            song = self._songs[index]
            if index in used or source not in song.loudness:
                continue
            pitch = 0 if source in UNPITCHED else best_pitch(key, song.chroma)
            if pitch is None:
                continue
            octave = 2.0 ** round(math.log2(period / song.period))
            if abs(octave * song.period / period - 1) > MAX_TEMPO:
                continue
            passage = self._passage(song, source, octave, period)
            if passage is not None:
                return RemixPart(index, passage.start, passage.period / period, pitch)
        return None

    def _passage(self, song: Analysis, source: str, octave: float, period: float) -> _Passage | None:
        """Pick the most active of a few random steady passages, `octave` beats of it to one of the remix."""
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
            activity = song.active_share(source, start, need)
            if best is None or activity > best.activity:
                best = _Passage(start, octave * local, activity)
        return best


def best_pitch(key: list[float] | None, chroma: list[float] | None) -> int | None:
    """Find the transposition that brings a song's chroma closest to a key, in L1 distance.

    Args:
        key: Chroma to match, 12 values; None accepts any key.
        chroma: Chroma of the song, 12 values; None if it has no pitched stems, so that nothing can match.

    Returns:
        Transposition in semitones; None if it would exceed `MAX_PITCH`.
    """
    if chroma is None:
        return None
    if key is None:
        return 0
    shifts = range(-5, 7)
    distances = [np.abs(np.asarray(key) - np.roll(chroma, shift)).sum() for shift in shifts]
    best = shifts[int(np.argmin(distances))]
    return best if abs(best) <= MAX_PITCH else None
