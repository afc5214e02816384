"""The trained weights and their averages, of which the best in validation becomes the run's model.

Several decays are averaged at once, since which one is best differs (arXiv 2111.03600, section 5).
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from hdemucs import __version__
from hdemucs.checkpoint import save
from hdemucs.datasets.scan import Scan
from hdemucs.model import Network
from hdemucs.optim.averages import Average
from hdemucs.training.config.schema import Config
from hdemucs.training.objective.penalty import exact_penalty
from hdemucs.training.run import Run
from hdemucs.training.validation import Scores, mean_scores, score_song

WEIGHTS = "weights"


class Candidates:
    """What may become the model.

    Args:
        model: being trained.
        config: of the training.
        songs: whose validation songs tell which candidate is best.
        run: whose `best` is written.
        accelerator: its processes share the validation songs among them.
    """

    def __init__(
        self, model: Network, config: Config, songs: Scan, run: Run, accelerator: Accelerator
    ) -> None:
        self.model = model
        self.config = config
        self.songs = songs.valid
        self.run = run
        self.accelerator = accelerator
        # Validation has a network of its own: accelerate changes how the trained one computes.
        self.judged = copy.deepcopy(model).eval().requires_grad_(False)
        decays = config.averages
        self.per_step = {f"step average {decay:g}": Average(model, decay) for decay in decays.per_batch}
        self.per_epoch = {
            f"epoch average {decay:g}": Average(model, decay, torch.device("cpu"))
            for decay in decays.per_epoch
        }
        self.averages = {**self.per_step, **self.per_epoch}
        self.best: float | None = None

    def after_step(self) -> None:
        """Bring the averages of each step up to date."""
        for average in self.per_step.values():
            average.update()

    def after_epoch(self, epoch: int, steps: int) -> dict[str, Any] | None:
        """Score all candidates, and keep the best one if it is the best so far.

        Args:
            epoch: done, from 1.
            steps: done since the run began.

        Returns:
            What there is to record of validation, None if it was not this epoch's turn.
        """
        for average in self.per_epoch.values():
            average.update()
        if not self.songs:
            # Nothing tells which is best; by experience an average is better than the weights.
            self._keep(next(iter(self.averages), WEIGHTS), epoch, steps, None)
            return None
        if epoch % self.config.validation.every and epoch != self.config.epochs:
            return None
        scores = {name: self._score(name) for name in (WEIGHTS, *self.averages)}
        select = self.config.validation.select
        chosen = max(scores, key=lambda name: scores[name].rank(select))
        rank = scores[chosen].rank(select)
        if self.best is None or rank > self.best:
            self.best = rank
            self._keep(chosen, epoch, steps, scores[chosen])
        record = {"chosen": chosen, "best": abs(self.best), **scores[chosen].as_dict()}
        if self.config.penalty.weight:
            record["penalty"] = exact_penalty(self.model, self.config.penalty.smallest)
        return {**record, "candidates": {name: score.as_dict() for name, score in scores.items()}}

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        averages = {name: average.state_dict() for name, average in self.averages.items()}
        return {"averages": averages, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        for name, average in self.averages.items():
            average.load_state_dict(state["averages"][name])
        self.best = state["best"]

    def _weights(self, name: str) -> Mapping[str, Tensor]:
        return self.model.state_dict() if name == WEIGHTS else self.averages[name].state

    def _score(self, name: str) -> Scores:
        """Scores over all validation songs, each of them separated by one of the processes."""
        self.judged.load_state_dict(self._weights(name))
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        device = self.accelerator.device
        mine = [score_song(self.judged, song, self.config, device) for song in self.songs[rank::world]]
        return mean_scores(gather_object(mine) if world > 1 else mine)

    def _keep(self, name: str, epoch: int, steps: int, scores: Scores | None) -> None:
        if not self.accelerator.is_main_process:
            return
        self.judged.load_state_dict(self._weights(name))
        provenance = {
            "hdemucs": __version__,
            "epoch": epoch,
            "steps": steps,
            "chosen": name,
            "init": self.config.init,
            "validation": None if scores is None else scores.as_dict(),
        }
        save(self.judged, self.run.best, provenance=_without_nan(provenance))


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
