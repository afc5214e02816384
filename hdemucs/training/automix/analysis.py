"""What remixing needs to know about a song: its beats, its notes, and when its stems sound."""

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

from hdemucs.datasets import Song
from hdemucs.errors import TrainingError, install_extra
from hdemucs.files import write_whole

RATE = 22050
"""Sample rate of the analysis in Hz; beats and notes are well below half of it."""

_HOP = 256  # 12 ms
_FEWEST_BEATS = 8
_SILENCE = 0.01  # as a share of the standard deviation of the whole song
_VERSION = 1  # of the analysis, for its cache


@dataclass(frozen=True)
class Analysis:
    """Result of analysing a song.

    Attributes:
        name: Name of the song.
        seconds: Length of its shortest stem in seconds.
        beats: Times of its beats in seconds.
        chroma: Share of the time for which each pitch class, from C up, is the loudest in the bass line; None
            if only drums sound.
        loudness: Root mean square of each full second, by stem.
    """

    name: str
    seconds: float
    beats: list[float]
    chroma: list[float] | None
    loudness: dict[str, list[float]]

    @cached_property
    def period(self) -> float:
        """Mean time between beats in seconds."""
        return fit_beats(self.beats)[1]

    def share_sounding(self, source: str, start: float, seconds: float) -> float:
        """Share of a passage, in seconds, where a stem is at most 20 dB softer than at its loudest."""
        loudness = np.asarray(self.loudness[source])
        passage = loudness[int(start) : int(start + seconds)]
        return float((passage > 0.1 * loudness.max()).mean()) if len(passage) else 0.0


def fit_beats(beats: list[float]) -> tuple[float, float, float]:
    """Fit a steady beat to the times of beats: first beat, period and root mean square error, in seconds."""
    index = np.arange(len(beats))
    period, first = np.polyfit(index, beats, 1)
    return float(first), float(period), float(np.std(beats - first - period * index))


def analyse(song: Song) -> Analysis:
    """Find beats in the drums and notes in the bass (arXiv 2111.03600).

    Where these are missing or silent, all stems stand in for the drums, and all but the drums for the bass.

    Raises:
        AudioError: A stem is damaged.
        TrainingError: No beat was found, or librosa is not installed.
    """
    stems = {source: song.read(source, RATE, channels=1)[0] for source in song.sources}
    length = min(len(stem) for stem in stems.values())
    stems = {source: stem[:length] for source, stem in stems.items()}
    mixture = torch.stack([*stems.values()]).sum(0)
    pitched = mixture - stems.get("drums", torch.zeros(length))
    silence = _SILENCE * float(mixture.std(correction=0))

    def sounds(stem: Tensor | None) -> bool:
        return stem is not None and bool(stem.std(correction=0) > silence)

    beats = _beats(stems["drums"] if sounds(stems.get("drums")) else mixture)
    if len(beats) < _FEWEST_BEATS:
        raise TrainingError(
            f"{song.name}: no beat was found in its {length / RATE:.0f} s; leave the song out"
        )
    bass = stems["bass"] if sounds(stems.get("bass")) else pitched
    chroma = _chroma(bass) if sounds(bass) else None
    return Analysis(song.name, length / RATE, beats, chroma, _loudness(stems))


def analyse_once(song: Song, cache: Path) -> Analysis:
    """Like `analyse`, but reuses the result that the folder `cache` has for these very files, if any."""
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
        raise TrainingError(f"remixing needs librosa: {install_extra('train')}") from error
    return librosa
