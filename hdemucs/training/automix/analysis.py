"""Song analysis for remixing: beats, pitch content, and when each stem is active."""

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
"""Sample rate of the analysis in Hz; neither beats nor bass notes need anything above 11 kHz."""

_HOP = 256  # samples: 12 ms
_FEWEST_BEATS = 8
_SILENCE = 0.01  # relative to the standard deviation of the mixture
_VERSION = 1  # part of the cache key; raised when the analysis changes


@dataclass(frozen=True)
class Analysis:
    """Result of analysing a song.

    Attributes:
        name: Name of the song.
        seconds: Duration of its shortest stem in seconds.
        beats: Times of its beats in seconds.
        chroma: Fraction of the time in which each of the 12 pitch classes, from C upwards, is the strongest
            in the bass line; None if nothing but drums is audible.
        loudness: RMS of each full second, by stem.
    """

    name: str
    seconds: float
    beats: list[float]
    chroma: list[float] | None
    loudness: dict[str, list[float]]

    @cached_property
    def period(self) -> float:
        """Mean beat period in seconds."""
        return fit_beats(self.beats)[1]

    def active_share(self, source: str, start: float, seconds: float) -> float:
        """Fraction of a passage in which a stem is within 20 dB of its loudest second.

        Args:
            source: Name of the stem.
            start: Start of the passage in seconds.
            seconds: Duration of the passage in seconds.
        """
        loudness = np.asarray(self.loudness[source])
        passage = loudness[int(start) : int(start + seconds)]
        return float((passage > 0.1 * loudness.max()).mean()) if len(passage) else 0.0


def fit_beats(beats: list[float]) -> tuple[float, float, float]:
    """Fit a steady beat to beat times in seconds.

    Returns:
        First beat, period and RMS error, in seconds.
    """
    index = np.arange(len(beats))
    period, first = np.polyfit(index, beats, 1)
    return float(first), float(period), float(np.std(beats - first - period * index))


def analyse(song: Song) -> Analysis:
    """Find beats in the drums and notes in the bass (arXiv 2111.03600).

    If the drums are missing or silent, beats are found in the mixture; if the bass is, notes are found in
    everything but the drums.

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
            f"{song.name}: no beat found in {length / RATE:.0f} s of audio; leave the song out"
        )
    bass = stems["bass"] if sounds(stems.get("bass")) else pitched
    chroma = _chroma(bass) if sounds(bass) else None
    return Analysis(song.name, length / RATE, beats, chroma, _loudness(stems))


def analyse_once(song: Song, cache: Path) -> Analysis:
    """Analyse a song, or reuse the result in the folder `cache` if the song's files are unchanged."""
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
