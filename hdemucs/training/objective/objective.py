"""The training objective: a loss on the stems, plus a penalty on the weights.

Letters in shapes: B batch, S sources, C channels, L samples.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hdemucs.training.objective.losses import LOSSES, LossKind
from hdemucs.training.objective.penalty import SingularValuePenalty


class Objective:
    """Mean error of the known stems, weighted by source, plus a penalty on the network's weights.

    Args:
        kind: Name of the loss, see `hdemucs.training.objective.losses`.
        sources: Names of the sources, in the order of the network's outputs.
        weights: Weight of each source in the loss, by name; 1 for a source that is not named.
        penalty: Penalty on the weights of the network; None for no penalty.
    """

    def __init__(
        self,
        kind: LossKind,
        sources: Sequence[str],
        weights: Mapping[str, float] | None = None,
        penalty: SingularValuePenalty | None = None,
    ) -> None:
        self.loss = LOSSES[kind]
        self.sources = list(sources)
        self.weights = torch.tensor([(weights or {}).get(source, 1.0) for source in self.sources])
        self.penalty = penalty

    def __call__(
        self,
        estimates: Tensor,
        stems: Tensor,
        known: Tensor,
        *,
        batch_size: int | None = None,
        network: nn.Module | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the objective of a batch, or of one part of it.

        The loss is divided by the number of all stems, known or not: the mean over equal parts of a batch,
        whether accumulated or spread over several devices, is the loss of the whole batch.

        Args:
            estimates: Estimated stems `[B, S, C, L]`, in any precision.
            stems: True stems `[B, S, C, L]` in float32, finite even where unknown.
            known: Mask of the known stems, `[B, S]` bool; unknown ones contribute neither loss nor gradient.
            batch_size: Number of examples in the whole batch if this is only a part of it, so that the parts
                add up; None for a whole batch.
            network: Network to penalise, not a wrapper for several devices; None leaves out the penalty,
                which is added once per batch.
            generator: Random number generator for the penalty; None for torch's default one.

        Returns:
            The total, a scalar to minimise, and detached values to record: `loss/SOURCE`, the unweighted mean
            error of each source over the examples in which it is known, NaN if there are none; and `penalty`,
            unweighted, if there is one.
        """
        errors = self.loss(estimates.float(), stems)
        # A product, not a selection: NaN in any estimate makes the loss NaN, which stops training.
        errors = errors * known
        weights = self.weights.to(errors.device)
        total = (errors * weights).sum() / (len(errors) * weights.sum())
        if batch_size is not None:
            total = total * len(errors) / batch_size
        by_source = errors.detach().sum(0) / known.sum(0)
        values = {f"loss/{source}": value for source, value in zip(self.sources, by_source, strict=True)}
        if network is not None and self.penalty is not None:
            penalty = self.penalty(network, generator)
            total = total + self.penalty.weight * penalty
            values["penalty"] = penalty.detach()
        return total, values
