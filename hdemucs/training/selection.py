"""Checkpoint selection: the trained weights and their averages, the best of which becomes the run's model.

Averages with several decays are kept, since the best decay differs from run to run (arXiv 2111.03600,
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
"""Name of the trained weights themselves, alongside the names of the averages."""


class CheckpointSelection:
    """Keeps averages of a network's weights, and writes whichever weights validate best to a model file.

    Args:
        network: Network being trained.
        validation: Validation that scores the weights and their averages.
        file: Path of the model file; None in processes that must not write it.
        per_step: Decays of the averages updated every step.
        per_epoch: Decays of the averages updated every epoch.
        criterion: `sdr` to select by the highest mean SDR, `loss` by the lowest loss.
        provenance: Metadata for the model file, in addition to its scores.
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
        # Validation uses a copy, as accelerate changes the forward pass of the trained network.
        self._evaluated = copy.deepcopy(network).eval().requires_grad_(False)
        self._per_step = {f"step average {decay:g}": WeightAverage(network, decay) for decay in per_step}
        self._per_epoch = {
            f"epoch average {decay:g}": WeightAverage(network, decay, torch.device("cpu"))
            for decay in per_epoch
        }
        self._averages = {**self._per_step, **self._per_epoch}
        self._best: float | None = None

    def after_step(self) -> None:
        """Update the per-step averages."""
        for average in self._per_step.values():
            average.update()

    def after_epoch(self, epoch: int, steps: int, *, validate: bool = True) -> dict[str, Any] | None:
        """Update the per-epoch averages, validate, and write the best weights if they beat all earlier ones.

        Args:
            epoch: Number of epochs done.
            steps: Number of steps done since the start of the run.
            validate: Whether to validate after this epoch.

        Returns:
            Scores of the chosen weights, to be recorded, with those of all sets of weights under
            `candidates`; None if there was no validation.
        """
        for average in self._per_epoch.values():
            average.update()
        if not self._validation.songs:
            # There is no telling which is best, but an average usually beats the weights themselves.
            self._write(next(iter(self._averages), WEIGHTS), epoch, steps, None)
            return None
        if not validate:
            return None
        scores = {name: self._validation(self._load(name)) for name in (WEIGHTS, *self._averages)}
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
        """Return the state to save in a checkpoint."""
        averages = {name: average.state_dict() for name, average in self._averages.items()}
        return {"averages": averages, "best": self._best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        for name, average in self._averages.items():
            average.load_state_dict(state["averages"][name])
        self._best = state["best"]

    def _load(self, name: str) -> Network:
        """Load the trained weights or one of the averages into the network for validation."""
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
        save(self._load(name), self._file, provenance=_without_nan(provenance))


def _without_nan(value: Any) -> Any:
    """Replace NaN and infinity by None, as JSON has neither."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
