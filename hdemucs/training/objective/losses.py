"""Distance between estimated and true stems (arXiv 2111.03600, section 5).

Letters in shapes: B batch, S sources, C channels, L samples.
"""

from typing import Literal

from torch import Tensor

LossKind = Literal["l1", "mse"]


def reconstruction(
    estimates: Tensor, stems: Tensor, known: Tensor, kind: LossKind, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean error of the known stems, weighted by source.

    It is divided by the number of all stems, known or not: the mean over equal parts of a batch (accumulated
    ones, or those of several devices) is the loss of the whole batch.

    Args:
        estimates: `[B, S, C, L]`, in any precision.
        stems: `[B, S, C, L]` float32, finite where unknown too.
        known: `[B, S]`, whether the stem is the true one; an unknown one has no loss and no gradient.
        kind: mean absolute or mean squared error, over channels and samples.
        weights: `[S]`, of each source.

    Returns:
        The loss, and the mean error of each source over the examples that know it, `[S]`, without gradient
        and without weights, NaN where no example does.
    """
    difference = estimates.float() - stems
    errors = (difference.abs() if kind == "l1" else difference.square()).mean((2, 3))
    # A product, not a selection: NaN in any estimate makes the loss NaN, by which the loop notices it.
    errors = errors * known
    loss = (errors * weights).sum() / (len(errors) * weights.sum())
    return loss, errors.detach().sum(0) / known.sum(0)
