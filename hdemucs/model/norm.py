"""Normalisation that keeps its precision in channels-last memory.

Letters in shapes: N rows, C channels, T time positions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPAN = 1024
"""Number of positions whose products are summed at once."""


class ExactGroupNorm(nn.GroupNorm):
    """Group normalisation by torch's contiguous kernel, whatever the memory format.

    The channels-last kernel sums squares before it centres, and is up to a hundred times less precise where a
    group hardly varies.
    """

    def forward(self, x: Tensor) -> Tensor:
        # Not F.group_norm, which rejects groups of a single value: the input may be one sample long.
        return torch.group_norm(x.contiguous(), self.num_groups, self.weight, self.bias, self.eps)


def group_norm(groups: int | None, channels: int) -> nn.Module:
    """Group normalisation with `groups` groups, or the identity if `groups` is None."""
    return nn.Identity() if groups is None else ExactGroupNorm(groups, channels)


def project_normalised(x: Tensor, conv: nn.Conv2d, norm: nn.GroupNorm) -> Tensor:
    """`norm(conv(x))` for a 1x1 convolution and a normalisation over all channels and times, in one product.

    The mean and variance of the output follow from the mean and covariance of the input, which has an eighth
    of the channels, so the output is written once, already normalised. The moments are centred, so that rows
    that hardly vary (a frequency above a recording's low-pass) keep their precision.

    Args:
        x: Input `[N, H, T]`.
        conv: 1x1 convolution from H to K channels.
        norm: Normalisation over the K channels as one group.

    Returns:
        `[N, T, K]`.
    """
    assert conv.bias is not None
    weight = at_least_float32(conv.weight[:, :, 0, 0])
    x, dtype = at_least_float32(x), x.dtype
    mean_x = x.mean(-1)
    centred = x - mean_x[..., None]
    # In spans: a product over the hundred thousand positions of a waveform rounds off a hundred times more.
    covariance = sum(part @ part.transpose(1, 2) for part in centred.split(SPAN, -1)) / x.shape[-1]
    means = F.linear(mean_x, weight, at_least_float32(conv.bias))
    mean = means.mean(1, keepdim=True)
    variance = ((weight @ covariance) * weight).sum(-1) + (means - mean) ** 2
    scale = norm.weight * (variance.mean(1, keepdim=True) + norm.eps).rsqrt()
    shift = norm.bias + (means - mean) * scale
    weight = scale[:, None] * weight.t()
    return torch.baddbmm(shift[:, None].to(dtype), centred.transpose(1, 2).to(dtype), weight.to(dtype))


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in a type in which statistics and distances keep their precision."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def standardise(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Shift and scale `x` to mean 0 and standard deviation 1 over `dims`.

    Returns:
        The result, and the mean and standard deviation of `x`, which keep the reduced axes. The deviation of
        a single value counts as 0.
    """
    mean = x.mean(dims, keepdim=True)
    lone = x.numel() == mean.numel()
    std = torch.zeros_like(mean) if lone else x.std(dims, keepdim=True)
    return (x - mean) / (1e-5 + std), mean, std
