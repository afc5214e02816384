"""Singular value regularisation: a penalty on the largest singular value of each large weight
(arXiv 2111.03600).

Letters in shapes: M rows and N columns of a weight as a matrix, R vectors that are iterated.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 26_215
"""Numbers in the smallest weight that is penalised: 0.1 MiB in float32, the default of `demucs`."""


def weight_matrices(model: nn.Module, smallest: int = SMALLEST) -> Iterator[Tensor]:
    """The weights that are penalised, as matrices `[outputs, inputs * kernel]`.

    Those are all trained ones of at least `smallest` numbers. As in the published runs (`svd=base2` of
    `demucs`), LSTM and linear layers are among them (`conv_only: false`), and transposed convolutions have
    their outputs as rows like the others (`convtr: true`).
    """
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            if weight.dim() < 2 or weight.numel() < smallest or not weight.requires_grad:
                continue
            transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d)
            yield (weight.transpose(0, 1) if transposed else weight).flatten(1)


def singular_value_penalty(
    model: nn.Module,
    *,
    rank: int = 1,
    iterations: int = 2,
    smallest: int = SMALLEST,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sum over the large weights of their squared largest singular value, estimated from below.

    The value is that of `torch.svd_lowrank` (Halko et al., arXiv 0909.4061, algorithm 5.1). The gradient of
    each term is `2 sigma u v^T` with the vectors found, the exact one as soon as these are the singular
    vectors; it costs one product, where the one through all iterations costs as many as they have.

    Args:
        model: as it is, not wrapped for several devices.
        rank: vectors that are iterated together; the estimate is the best in the space that they span.
        iterations: products with `W W^T`. The defaults are those of `demucs`, good where one singular value
            stands out; its published runs took 100 vectors and 4 iterations, good everywhere.
        smallest: numbers in the smallest weight that is penalised.
        generator: of the vectors to start from, which are drawn anew in each call; None for torch's own.

    Returns:
        A scalar, on the model's device; in the precision of the weights, whatever autocast says.
    """
    device = next(model.parameters()).device
    total = torch.zeros((), device=device)
    with torch.autocast(device.type, enabled=False):
        for weight in weight_matrices(model, smallest):
            matrix = weight if weight.shape[0] <= weight.shape[1] else weight.t()
            u = _leading_vector(matrix.detach(), rank, iterations, generator)
            total = total + (u @ matrix).square().sum()
    return total


@torch.no_grad()
def _leading_vector(matrix: Tensor, rank: int, iterations: int, generator: torch.Generator | None) -> Tensor:
    """Vector `[M]` of norm 1, near the left singular one of the largest singular value of `[M, N]`."""
    rank = min(rank, matrix.shape[0])
    device = matrix.device if generator is None else generator.device
    start = torch.randn(matrix.shape[1], rank, generator=generator, device=device)
    # Vectors are rows, [R, M]: several times faster than columns for few of them.
    vectors = F.normalize(start.to(matrix).t().contiguous() @ matrix.t(), dim=1)
    for _ in range(iterations):
        # They need not be made orthogonal here: where they drift together is where the wanted one is.
        vectors = F.normalize(vectors @ matrix @ matrix.t(), dim=1)
    if rank == 1:
        return vectors[0]
    basis = torch.linalg.qr(vectors.t()).Q
    inner = basis.t() @ matrix
    # NaN and infinite weights are left to make the result NaN: eigh would raise an exception.
    gram = (inner @ inner.t()).nan_to_num(0, 0, 0)
    return basis @ torch.linalg.eigh(gram).eigenvectors[:, -1]


@torch.no_grad()
def exact_penalty(model: nn.Module, smallest: int = SMALLEST) -> float:
    """What `singular_value_penalty` estimates, exactly: far too slow for each step, to be told at validation.

    The squared largest singular value is the largest eigenvalue of `W W^T`, found six times as fast as all
    singular values; in float64, since a GPU may multiply float32 with ten bits. NaN where a weight is not
    finite.
    """
    total = 0.0
    for weight in weight_matrices(model, smallest):
        matrix = weight.double() if weight.shape[0] <= weight.shape[1] else weight.t().double()
        if not matrix.isfinite().all():
            return math.nan
        total += torch.linalg.eigvalsh(matrix @ matrix.t())[-1].item()
    return total
