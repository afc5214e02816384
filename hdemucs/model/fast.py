"""Inference-only forms of layers: the same result as the plain forms, faster or in less memory.

Each function takes the arguments of the plain form and decides itself which form to run. The plain form runs
while gradients are recorded, and while a program is traced or exported, so that an exporter sees ordinary
layers.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

CACHE_VALUES = 1 << 19
"""Number of values to process at a time where rows are independent: 2 MB in float32, the cache of a core."""


def enabled() -> bool:
    """Whether the fast forms run: in inference that is neither traced nor compiled."""
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]
    return not (torch.is_grad_enabled() or traced)


def map_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply to `[B, C, F, T]` a function that treats each frequency independently.

    On a CPU, a few frequencies are processed at a time: intermediate results need less memory, at the same
    speed.
    """
    if not enabled() or x.device.type != "cpu":
        return function(x)
    rows = max(1, CACHE_VALUES // (x.shape[1] * x.shape[3]))
    return torch.cat([function(part) for part in x.split(rows, 2)], 2)


def conv_transpose(conv: nn.ConvTranspose2d, x: Tensor, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """Transposed convolution along one axis, with a kernel of one or two strides.

    The fast form computes all offsets within a stride by one convolution of one or two taps, and interleaves
    them. This is faster than oneDNN's transposed convolution, except for the gradient.

    Args:
        conv: Layer with a kernel `(K, 1)` or `(1, K)`; its own padding is not used.
        x: Input `[B, C_in, F, T]`.
        padding: Number of positions to cut off at either end, along (frequency, time).

    Returns:
        `[B, C_out, F', T']`.
    """
    if not enabled():
        return F.conv_transpose2d(x, conv.weight, conv.bias, conv.stride, padding)
    axis = 2 if conv.kernel_size[0] > 1 else 3
    z = _by_taps(conv, x, axis)
    return z.narrow(axis, padding[axis - 2], z.shape[axis] - 2 * padding[axis - 2])


def _by_taps(conv: nn.ConvTranspose2d, x: Tensor, axis: int) -> Tensor:
    stride = conv.stride[axis - 2]
    weight = rearrange(conv.weight.flatten(2), "i o (tap r) -> (r o) i tap", r=stride).flip(-1)
    assert conv.bias is not None
    bias = conv.bias.repeat(stride)
    overhang = weight.shape[-1] - 1
    if axis == 3:
        z = F.conv2d(x, weight.unsqueeze(2), bias, padding=(0, overhang))
        return rearrange(z, "b (r o) f t -> b o f (t r)", r=stride)
    z = F.conv2d(x, weight.unsqueeze(3), bias, padding=(overhang, 0))
    z = rearrange(z.permute(0, 2, 3, 1), "b f t (r o) -> b (f r) t o", r=stride)
    return z.permute(0, 3, 1, 2)
