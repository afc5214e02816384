"""Singular value regularisation: a penalty on the largest singular value of each large weight
(arXiv 2111.03600).

Letters in shapes: M rows and N columns of a weight as a matrix, R vectors that are iterated together.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class SingularValuePenalty:
    """Sum of the squared largest singular values of all large weights.

    The penalty covers all trainable weights with at least `smallest` values. As in the published runs
    (`svd=base2` of `demucs`), these include LSTM and linear layers (`conv_only: false`), and the rows of a
    transposed convolution are its outputs, like those of any other layer (`convtr: true`).

    Attributes:
        weight: Weight of the penalty relative to the loss; applied by `Objective`, not here.
        rank: Number of vectors iterated together; the estimate is the best one in the space they span.
        iterations: Number of power iterations, products with `W W^T`. The defaults are those of `demucs`,
            accurate where one singular value stands out; its published runs used 100 vectors and 4
            iterations, which are always accurate.
        smallest: Minimum number of values in a penalised weight; the default is 0.1 MiB in float32.
    """

    weight: float = 1e-5
    rank: int = 1
    iterations: int = 2
    smallest: int = 26_215

    def __call__(self, model: nn.Module, generator: torch.Generator | None = None) -> Tensor:
        """Estimate the penalty from below.

        The value is that of `torch.svd_lowrank` (Halko et al., arXiv 0909.4061, algorithm 5.1). The gradient
        of each term is `2 sigma u v^T` with the vectors found, which is exact once they have converged to the
        singular vectors. It costs one product; a gradient through all iterations would cost as many as these.

        Args:
            model: Network to penalise, not a wrapper for several devices.
            generator: Random number generator for the initial vectors, which are drawn afresh in each call;
                None for torch's default one.

        Returns:
            A scalar on the model's device, in the precision of the weights even under autocast.
        """
        device = next(model.parameters()).device
        total = torch.zeros((), device=device)
        with torch.autocast(device.type, enabled=False):
            for weight in self.matrices(model):
                matrix = weight if weight.shape[0] <= weight.shape[1] else weight.t()
                u = _leading_vector(matrix.detach(), self.rank, self.iterations, generator)
                total = total + (u @ matrix).square().sum()
        return total

    @torch.no_grad()
    def exact(self, model: nn.Module) -> float:
        """Compute the exact penalty, which is far too slow for each step, but affordable at validation.

        The squared largest singular value is the largest eigenvalue of `W W^T`, found six times as fast as
        all singular values. It is computed in float64, since a GPU may multiply float32 matrices with only
        ten bits of mantissa (TF32).

        Args:
            model: Network to penalise.

        Returns:
            The penalty before `weight` is applied; NaN if a weight is not finite.
        """
        total = 0.0
        for weight in self.matrices(model):
            matrix = weight.double() if weight.shape[0] <= weight.shape[1] else weight.t().double()
            if not matrix.isfinite().all():
                return math.nan
            total += torch.linalg.eigvalsh(matrix @ matrix.t())[-1].item()
        return total

    def matrices(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield the penalised weights as matrices `[outputs, inputs * kernel]`."""
        for module in model.modules():
            for weight in module.parameters(recurse=False):
                if weight.dim() < 2 or weight.numel() < self.smallest or not weight.requires_grad:
                    continue
                transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d)
                yield (weight.transpose(0, 1) if transposed else weight).flatten(1)


@torch.no_grad()
def _leading_vector(matrix: Tensor, rank: int, iterations: int, generator: torch.Generator | None) -> Tensor:
    """Unit vector `[M]` near the left singular vector of the largest singular value of a matrix `[M, N]`."""
    rank = min(rank, matrix.shape[0])
    device = matrix.device if generator is None else generator.device
    start = torch.randn(matrix.shape[1], rank, generator=generator, device=device)
    # Vectors are rows, [R, M]: several times faster than columns for few of them.
    vectors = F.normalize(start.to(matrix).t().contiguous() @ matrix.t(), dim=1)
    for _ in range(iterations):
        # No orthogonalisation needed: it is the leading vector that they converge to.
        vectors = F.normalize(vectors @ matrix @ matrix.t(), dim=1)
    if rank == 1:
        return vectors[0]
    basis = torch.linalg.qr(vectors.t()).Q
    inner = basis.t() @ matrix
    # NaN and infinite weights still make the result NaN; without this, eigh would raise an exception.
    gram = (inner @ inner.t()).nan_to_num(0, 0, 0)
    return basis @ torch.linalg.eigh(gram).eigenvectors[:, -1]
