"""Scores models on full validation songs, separated just as a user would separate them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from hdemucs.datasets import TrainingSong
from hdemucs.evaluation.metrics.sdr import sdr
from hdemucs.model import Model
from hdemucs.separator import Separator
from hdemucs.training.objective.objective import Objective


@dataclass(frozen=True)
class Scores:
    """Scores of a model, averaged over songs.

    Attributes:
        loss: Training loss on full songs, without the penalty.
        sdr: SDR of each source in dB, as defined by the MDX challenge, over the songs in which it is known.
    """

    loss: float
    sdr: dict[str, float]

    @property
    def mean_sdr(self) -> float:
        """Mean over the sources that have an SDR."""
        return _mean(self.sdr.values())

    def rank(self, criterion: str) -> float:
        """Return the value by which models are compared; higher is better, and NaN is worst.

        Args:
            criterion: `sdr` for the highest mean SDR, `loss` for the lowest loss.
        """
        value = self.mean_sdr if criterion == "sdr" else -self.loss
        return -math.inf if math.isnan(value) else value

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as they are recorded in the metrics."""
        return {"loss": self.loss, "mean_sdr": self.mean_sdr, "sdr": self.sdr}


class Validation:
    """Scores models on validation songs, which the processes share among themselves.

    Args:
        songs: Songs that are not trained on; may be empty.
        objective: Objective that provides the loss.
        overlap: Overlap of neighbouring segments, as a fraction of a segment.
        accelerator: Processes that share the songs, and the device that runs the model.
    """

    def __init__(
        self, songs: Sequence[TrainingSong], objective: Objective, overlap: float, accelerator: Accelerator
    ) -> None:
        self.songs = songs
        self._objective = objective
        self._overlap = overlap
        self._accelerator = accelerator

    def __call__(self, model: Model) -> Scores:
        """Score a model, which must be in evaluation mode, and return the mean over all songs."""
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        scores = [self._score(model, song) for song in self.songs[rank::world]]
        return mean_scores(gather_object(scores) if world > 1 else scores)

    def _score(self, model: Model, song: TrainingSong) -> Scores:
        sources, rate = model.sources, model.sample_rate
        stems, known = song.full_track(sources, rate, model.audio_channels)
        # Scores of one run are compared with one another, also if it is resumed on another machine.
        device = str(self._accelerator.device)
        separator = Separator(model, overlap=self._overlap, device=device, precision="float32")
        separated = separator.separate(stems.sum(0), rate)
        estimates = torch.stack([separated[source] for source in sources])
        loss, _ = self._objective(estimates[None], stems[None, :-1], known[None])
        ratios = _finite_sdr(stems[:-1], estimates)
        by_source = {
            source: ratio if is_known else math.nan
            for source, ratio, is_known in zip(sources, ratios, known.tolist(), strict=True)
        }
        return Scores(loss.item(), by_source)


def _finite_sdr(stems: Tensor, estimates: Tensor) -> list[float]:
    """SDR of each source in dB; NaN if the model's output is infinite or NaN anywhere."""
    if not estimates.isfinite().all():
        return [math.nan] * len(stems)
    return sdr(stems, estimates).tolist()


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Average scores over songs; the SDR of a source over the songs in which it is known."""
    means = {source: _mean([score.sdr[source] for score in scores]) for source in scores[0].sdr}
    return Scores(sum(score.loss for score in scores) / len(scores), means)


def _mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
