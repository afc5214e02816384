"""Normalisation that keeps its precision in channels-last memory.

Letters in shapes: N rows, C channels, T steps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ExactGroupNorm(nn.GroupNorm):
    """Group normalisation by torch's contiguous kernel: the channels-last one sums squares before it centres,
    and loses up to a hundred times the precision where a group hardly varies."""

    def forward(self, x: Tensor) -> Tensor:
        # Not F.group_norm, which refuses a group of one value: a model may be given one sample.
        return torch.group_norm(x.contiguous(), self.num_groups, self.weight, self.bias, self.eps)


def group_norm(groups: int | None, channels: int) -> nn.Module:
    """Group normalisation, or nothing where `groups` is None."""
    return nn.Identity() if groups is None else ExactGroupNorm(groups, channels)


def project_normalised(x: Tensor, conv: nn.Conv2d, norm: nn.GroupNorm) -> Tensor:
    """`norm(conv(x))` for a 1x1 convolution and a normalisation over all channels and steps, in one product.

    Mean and variance of the output follow from mean and covariance of the input, which has an eighth of the
    channels: the output is written once, normalised. The moments are centred, so that rows that hardly vary
    (a frequency above a recording's low-pass) keep their precision.

    Args:
        x: `[N, H, T]`.
        conv: from H to K channels.
        norm: over the K channels as one group.

    Returns:
        `[N, T, K]`.
    """
    assert conv.bias is not None
    weight = conv.weight[:, :, 0, 0]
    mean_x = x.mean(-1)
    centred = x - mean_x[..., None]
    covariance = centred @ centred.transpose(1, 2) / x.shape[-1]
    means = F.linear(mean_x, weight, conv.bias)
    mean = means.mean(1, keepdim=True)
    variance = ((weight @ covariance) * weight).sum(-1) + (means - mean) ** 2
    scale = norm.weight * (variance.mean(1, keepdim=True) + norm.eps).rsqrt()
    shift = norm.bias + (means - mean) * scale
    return torch.baddbmm(shift[:, None], centred.transpose(1, 2), scale[:, None] * weight.t())


def standardise(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """`x` with mean 0 and deviation 1 over `dims`, and that mean and deviation; a lone value has none."""
    mean = x.mean(dims, keepdim=True)
    lone = x.numel() == mean.numel()
    std = torch.zeros_like(mean) if lone else x.std(dims, keepdim=True)
    return (x - mean) / (1e-5 + std), mean, std
