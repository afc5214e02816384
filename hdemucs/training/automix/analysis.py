"""What remixing must know of a song: its beats, its notes, and where its stems sound."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdemucs.datasets.songs import Song
from hdemucs.errors import TrainingError
from hdemucs.files import write_whole

RATE = 22050
"""In Hz; beats and notes are well below half of it."""

_HOP = 256  # 12 ms
_FEWEST_BEATS = 8
_SILENCE = 0.01  # of the deviation of the whole song
_VERSION = 1  # of what is computed here, for the cache


@dataclass(frozen=True)
class Analysis:
    """What was found in a song.

    Attributes:
        name: of the song.
        seconds: of its shortest stem.
        beats: times in seconds.
        chroma: share of the time in which each pitch class, from C on, is the loudest of the bass line; None
            if nothing but drums sounds.
        loudness: of each stem, the root mean square of each whole second.
    """

    name: str
    seconds: float
    beats: list[float]
    chroma: list[float] | None
    loudness: dict[str, list[float]]

    @cached_property
    def period(self) -> float:
        """Seconds between beats, over the whole song."""
        return fit_beats(self.beats)[1]

    def share_sounding(self, source: str, start: float, seconds: float) -> float:
        """Part of a passage in which a stem is not far softer than it is at its loudest."""
        loudness = np.asarray(self.loudness[source])
        passage = loudness[int(start) : int(start + seconds)]
        return float((passage > 0.1 * loudness.max()).mean()) if len(passage) else 0.0


def fit_beats(beats: list[float]) -> tuple[float, float, float]:
    """A steady beat through the times of beats: first beat, period and root mean square error, in seconds."""
    index = np.arange(len(beats))
    period, first = np.polyfit(index, beats, 1)
    return float(first), float(period), float(np.std(beats - first - period * index))


def analyse(song: Song) -> Analysis:
    """Find beats and notes, as the paper does: beats in the drums, notes in the bass.

    Where these are missing or silent, all stems stand in for the drums, and all but the drums for the bass.

    Raises:
        AudioError: a stem is damaged.
        TrainingError: there is no beat, or librosa is not installed.
    """
    stems = {source: song.read(source, RATE, channels=1)[0] for source in song.sources}
    frames = min(len(stem) for stem in stems.values())
    stems = {source: stem[:frames] for source, stem in stems.items()}
    mixture = torch.stack([*stems.values()]).sum(0)
    pitched = mixture - stems.get("drums", torch.zeros(frames))
    silence = _SILENCE * float(mixture.std(correction=0))

    def sounds(stem: Tensor | None) -> bool:
        return stem is not None and bool(stem.std(correction=0) > silence)

    beats = _beats(stems["drums"] if sounds(stems.get("drums")) else mixture)
    if len(beats) < _FEWEST_BEATS:
        raise TrainingError(
            f"{song.name}: no beat was found in its {frames / RATE:.0f} s; leave the song out"
        )
    bass = stems["bass"] if sounds(stems.get("bass")) else pitched
    chroma = _chroma(bass) if sounds(bass) else None
    return Analysis(song.name, frames / RATE, beats, chroma, _loudness(stems))


def analyse_once(song: Song, cache: Path) -> Analysis:
    """`analyse`, unless a file in the folder `cache` has what was found in these very files."""
    versions = [_VERSION, song.name]
    for name, (path, stream) in sorted(song.files.items()):
        status = path.stat()
        versions += [name, str(path.resolve()), stream, status.st_size, status.st_mtime_ns]
    file = cache / f"{hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:32]}.json"
    try:
        return Analysis(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = analyse(song)
        write_whole(file, json.dumps(asdict(found)))
        return found


def _beats(signal: Tensor) -> list[float]:
    librosa = _librosa()
    _, beats = librosa.beat.beat_track(y=signal.numpy(), sr=RATE, hop_length=_HOP, units="time")
    return [round(float(beat), 4) for beat in beats]


def _chroma(signal: Tensor) -> list[float]:
    librosa = _librosa()
    chroma = librosa.feature.chroma_cqt(y=signal.numpy(), sr=RATE)
    loudness = librosa.feature.rms(y=signal.numpy())[0]
    frames = min(len(loudness), chroma.shape[1])
    audible = loudness[:frames] >= 0.05 * loudness.max()
    loudest = chroma[:, :frames].argmax(0)[audible]
    return [round(float(share), 5) for share in np.bincount(loudest, minlength=12) / len(loudest)]


def _loudness(stems: Mapping[str, Tensor]) -> dict[str, list[float]]:
    loudness = {}
    for source, stem in stems.items():
        seconds = stem[: len(stem) // RATE * RATE].reshape(-1, RATE)
        loudness[source] = [round(level, 6) for level in seconds.square().mean(1).sqrt().tolist()]
    return loudness


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise TrainingError("remixing needs librosa: pip install 'hdemucs[train]'") from error
    return librosa
