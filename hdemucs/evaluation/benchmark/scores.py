"""Scores of one song: computed, and kept in a JSON file that museval's tools can read too.

Letters in shapes: S sources, C channels, L samples, P windows.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdemucs.audio.codecs import LOSSY_SUFFIXES
from hdemucs.datasets import Song, align_lengths
from hdemucs.errors import EvaluationError, one_line
from hdemucs.evaluation.benchmark.engines import METRICS, Engine, OwnEngine
from hdemucs.evaluation.metrics import sdr
from hdemucs.files import write_whole


@dataclass(frozen=True)
class SongScores:
    """Scores of one song, by source.

    Attributes:
        windows: BSS Eval of the song's windows, dB `[P]` by metric.
        full_track: SDR of the full track as in the MDX challenge, dB; empty for files that museval wrote.
        engine: Name of the engine that computed BSS Eval.
    """

    windows: Mapping[str, Mapping[str, Tensor]]
    full_track: Mapping[str, float]
    engine: str


def scores_file(out: Path, song: str) -> Path:
    """File of a song's scores in the folder of a run."""
    return out / "tracks" / f"{song}.json"


def score_song(
    engine: Engine,
    song: Song,
    sources: Sequence[str],
    estimates: NDArray[np.float32],
    sample_rate: int,
    separation_seconds: float,
    file: Path,
) -> None:
    """Score the estimates of a song and write the scores to a file.

    Args:
        engine: What computes BSS Eval.
        song: Song with the true stems.
        sources: Names of the estimated sources, in order.
        estimates: Estimated sources `[S, C, L]`: an array, because torch hands a tensor to another process in
            shared memory, of which containers have little.
        sample_rate: Sample rate of the estimates in Hz; stems are resampled to it.
        separation_seconds: Time that the separation took in seconds, recorded with the scores.
        file: File to write.

    Raises:
        AudioError: A stem is missing or damaged, or not as long as its estimate.
        EvaluationError: The signals cannot be scored.
        OutputError: The file cannot be written.
    """
    references = _references(song, sources, sample_rate, channels=estimates.shape[1])
    estimated = torch.as_tensor(estimates)
    length = align_lengths(song.name, [references[0], estimated[0]], sample_rate).shape[-1]
    references, estimated = references[..., :length], estimated[..., :length]
    started = time.perf_counter()
    try:
        full_track = sdr(references, estimated)
        targets = engine.targets(sources, references, estimated, sample_rate)
    except ValueError as error:
        raise EvaluationError(f"{song.name}: {one_line(error)}") from error
    content = {
        "targets": targets,
        "museval_version": engine.museval_version,
        "hdemucs": {
            "engine": engine.name,
            "sdr": dict(zip(sources, full_track.tolist(), strict=True)),
            "seconds": length / sample_rate,
            "separation_seconds": separation_seconds,
            "scoring_seconds": time.perf_counter() - started,
        },
    }
    write_whole(file, json.dumps(content, indent=1))


def _references(song: Song, sources: Sequence[str], sample_rate: int, channels: int) -> Tensor:
    """True stems `[S, C, L]`; those decoded from a lossy format, such as AAC, are rounded to 16 bits.

    Decoded to float, such a signal has no energy at all above the encoder's highest band. BSS Eval then has
    to solve a nearly singular system, and ISR, SIR and SAR depend on rounding errors, by many decibels.
    museval's reader, stempeg, hands over samples of 16 bits, whose rounding noise fills the empty band:
    published scores on MUSDB18's `.stem.mp4` files were computed from these.
    """
    references = song.references(sources, sample_rate, channels)
    for reference, source in zip(references, sources, strict=True):
        if song.files[source][0].suffix.lower() in LOSSY_SUFFIXES:
            reference.mul_(32768).round_().clamp_(-32768, 32767).div_(32768)
    return references


def read_scores(file: Path) -> SongScores:
    """Read the scores of one song, written by `score_song` or by museval.

    Raises:
        EvaluationError: The file does not hold scores.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        windows = {
            target["name"]: {
                metric: torch.tensor([float(frame["metrics"][metric]) for frame in target["frames"]])
                for metric in METRICS
            }
            for target in content["targets"]
        }
        if "hdemucs" not in content:
            return SongScores(windows, {}, f"museval {content.get('museval_version', '')}".strip())
        # Version 0.1.0 had one engine, and did not name it.
        own = content["hdemucs"]
        return SongScores(windows, dict(own["sdr"]), str(own.get("engine", OwnEngine.name)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{file} does not hold scores; remove it to score the song again") from error
