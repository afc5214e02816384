"""Scores of a model on whole held-out songs, separated as a user would separate them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hdemucs.datasets.training_songs import TrainingSong
from hdemucs.evaluation.metrics.sdr import sdr
from hdemucs.model import Model
from hdemucs.separator import Separator
from hdemucs.training.config.schema import Config
from hdemucs.training.objective.losses import reconstruction


@dataclass(frozen=True)
class Scores:
    """Means over songs.

    Attributes:
        loss: the training's loss, without penalty, on whole songs.
        sdr: of the MDX challenge in dB, by source, over the songs whose true stem is known.
    """

    loss: float
    sdr: dict[str, float]

    @property
    def mean_sdr(self) -> float:
        """Over the sources that have one."""
        values = [value for value in self.sdr.values() if not math.isnan(value)]
        return sum(values) / len(values) if values else math.nan

    def rank(self, select: str) -> float:
        """Higher is better; what is not a number is worst."""
        value = self.mean_sdr if select == "sdr" else -self.loss
        return -math.inf if math.isnan(value) else value

    def as_dict(self) -> dict[str, Any]:
        """For a metrics file."""
        return {"loss": self.loss, "mean_sdr": self.mean_sdr, "sdr": self.sdr}


def score_song(model: Model, song: TrainingSong, config: Config, device: torch.device) -> Scores:
    """Scores of one song.

    Args:
        model: in evaluation mode.
        song: held out.
        config: of the training: the kind and the weights of the loss, the overlap of segments.
        device: to separate on.
    """
    sources, rate = model.sources, model.sample_rate
    stems, known = song.full_track(sources, rate, model.audio_channels)
    separator = Separator(model, overlap=config.validation.overlap, device=str(device))
    separated = separator.separate(stems.sum(0), rate)
    estimates = torch.stack([separated[source] for source in sources])
    weights = torch.tensor([config.loss.weights.get(source, 1.0) for source in sources])
    loss, _ = reconstruction(estimates[None], stems[None, :-1], known[None], config.loss.kind, weights)
    values = _finite_sdr(stems[:-1], estimates)
    by_source = {
        source: value if there else math.nan
        for source, value, there in zip(sources, values, known.tolist(), strict=True)
    }
    return Scores(loss.item(), by_source)


def _finite_sdr(stems: Tensor, estimates: Tensor) -> list[float]:
    """SDR of each source; NaN for a model that has come to give something that is not a number."""
    if not estimates.isfinite().all():
        return [math.nan] * len(stems)
    return sdr(stems, estimates).tolist()


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Means over songs, of each source over those that know it."""
    sources = scores[0].sdr
    means = {}
    for source in sources:
        values = [score.sdr[source] for score in scores if not math.isnan(score.sdr[source])]
        means[source] = sum(values) / len(values) if values else math.nan
    return Scores(sum(score.loss for score in scores) / len(scores), means)
