"""Checkpoint selection: the trained weights and their averages, the best of which becomes the run's model.

Several decays are averaged at once, since which one is best differs between trainings (arXiv 2111.03600,
section 5).
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hdemucs import __version__
from hdemucs.checkpoint import save
from hdemucs.model import Network
from hdemucs.optim.averages import WeightAverage
from hdemucs.training.validation import Scores, Validation

WEIGHTS = "weights"
"""Name of the trained weights themselves, beside those of the averages."""


class CheckpointSelection:
    """Keeps averages of a network's weights, and the best of all in validation as a model file.

    Args:
        network: Network being trained.
        validation: Validation that scores the weights and their averages.
        file: Where the best model is written; None where another process does it.
        per_step: Decays of the averages updated every step.
        per_epoch: Decays of the averages updated every epoch.
        criterion: `sdr` to select by the highest mean SDR, `loss` by the lowest loss.
        provenance: What to note in the model file beside its scores.
    """

    def __init__(
        self,
        network: Network,
        validation: Validation,
        file: Path | None,
        *,
        per_step: Sequence[float] = (),
        per_epoch: Sequence[float] = (),
        criterion: str = "sdr",
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self._network = network
        self._validation = validation
        self._file = file
        self._criterion = criterion
        self._provenance = dict(provenance or {})
        # A network of its own for validation: accelerate changes how the trained one computes.
        self._evaluated = copy.deepcopy(network).eval().requires_grad_(False)
        self._per_step = {f"step average {decay:g}": WeightAverage(network, decay) for decay in per_step}
        self._per_epoch = {
            f"epoch average {decay:g}": WeightAverage(network, decay, torch.device("cpu"))
            for decay in per_epoch
        }
        self._averages = {**self._per_step, **self._per_epoch}
        self._best: float | None = None

    def after_step(self) -> None:
        """Update the averages of every step."""
        for average in self._per_step.values():
            average.update()

    def after_epoch(self, epoch: int, steps: int, *, validate: bool = True) -> dict[str, Any] | None:
        """Update the averages of every epoch, score all, and write the best as the model if none was better.

        Args:
            epoch: Number of epochs done.
            steps: Number of steps done since the start of the run.
            validate: Whether this epoch is followed by a validation.

        Returns:
            Validation entries of a line of metrics, with those of every set of weights under `candidates`;
            None if there was no validation.
        """
        for average in self._per_epoch.values():
            average.update()
        if not self._validation.songs:
            # Nothing tells which is best; in experience an average is better than the weights.
            self._write(next(iter(self._averages), WEIGHTS), epoch, steps, None)
            return None
        if not validate:
            return None
        scores = {name: self._validation(self._with(name)) for name in (WEIGHTS, *self._averages)}
        ranks = {name: score.rank(self._criterion) for name, score in scores.items()}
        chosen = max(ranks, key=lambda name: ranks[name])
        if self._best is None or ranks[chosen] > self._best:
            self._best = ranks[chosen]
            self._write(chosen, epoch, steps, scores[chosen])
        return {
            "chosen": chosen,
            "best": self._best if self._criterion == "sdr" else -self._best,
            **scores[chosen].as_dict(),
            "candidates": {name: score.as_dict() for name, score in scores.items()},
        }

    def state_dict(self) -> dict[str, Any]:
        """State for the checkpoint."""
        averages = {name: average.state_dict() for name, average in self._averages.items()}
        return {"averages": averages, "best": self._best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        for name, average in self._averages.items():
            average.load_state_dict(state["averages"][name])
        self._best = state["best"]

    def _with(self, name: str) -> Network:
        """The network for validation, with the trained weights or with one of the averages."""
        weights: Mapping[str, Tensor] = (
            self._network.state_dict() if name == WEIGHTS else self._averages[name].state
        )
        self._evaluated.load_state_dict(weights)
        return self._evaluated

    def _write(self, name: str, epoch: int, steps: int, scores: Scores | None) -> None:
        if self._file is None:
            return
        provenance = {
            "hdemucs": __version__,
            "epoch": epoch,
            "steps": steps,
            "chosen": name,
            **self._provenance,
            "validation": None if scores is None else scores.as_dict(),
        }
        save(self._with(name), self._file, provenance=_without_nan(provenance))


def _without_nan(value: Any) -> Any:
    """Replace NaN and infinity by None, as JSON has neither."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
