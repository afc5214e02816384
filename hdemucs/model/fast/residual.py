"""Compressed residual branches without a copy between the layouts of their steps.

Letters in shapes: B batch, C channels, H hidden channels, F frequencies, T time positions, N rows (B * F).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hdemucs.model.fast.convolution import Convolution, GatedConvolution, pieces
from hdemucs.model.fast.sequence import FastAttention, FastBLSTM
from hdemucs.model.norm import ExactGroupNorm
from hdemucs.model.residual import ResidualBranch, ResidualLayer

SPAN = 1024
"""Time positions over which products are summed at once: float32 loses precision over more."""


class FastResidualBranch:
    """Fast form of `ResidualBranch`, which overwrites its input."""

    def __init__(self, branch: ResidualBranch, dtype: torch.dtype) -> None:
        self._layers = [
            FastResidualLayer(layer, dtype) for layer in branch if isinstance(layer, ResidualLayer)
        ]

    def __call__(self, x: Tensor) -> Tensor:
        """`[B, C, F, T]` to the same tensor."""
        for layer in self._layers:
            layer(x)
        return x


class FastResidualLayer:
    """Fast form of `ResidualLayer`, which adds its result to its input in place.

    The hidden channels stay as their convolution writes them, channels last, which makes each row a matrix
    `[T, H]`. The last convolution W, its normalisation over a row z = W h + b with gain g and bias d, and the
    scale s of the result become one convolution with gates. With the mean m and the reciprocal r of the
    deviation of the row,

        g (z - m) r + d  =  (g W) (r h) + (g b) r + g (-m r) + d,

    so that two more hidden channels, r and -m r, are all that differs between rows. As in `norm.py`, m and r
    follow from the moments of h, which has an eighth of the channels of z.
    """

    def __init__(self, layer: ResidualLayer, dtype: torch.dtype) -> None:
        self._conv1 = Convolution.of(layer.conv1, dtype)
        self._norm1 = layer.norm1
        self._lstm = None if layer.lstm is None else FastBLSTM(layer.lstm, dtype)
        self._attention = None if layer.attention is None else FastAttention(layer.attention, dtype)
        assert layer.conv2.bias is not None
        weight, bias = layer.conv2.weight[:, :, 0, 0].double(), layer.conv2.bias.double()
        channels = len(bias)
        self._mean_weight, self._mean_bias = weight.mean(0).float(), bias.mean().float()
        self._square_weight = (weight.t() @ weight / channels).float()
        self._cross_weight = (2 * bias @ weight / channels).float()
        self._square_bias = bias.square().mean().float()
        self._eps = layer.norm2.eps
        gain, shift = layer.norm2.weight.double(), layer.norm2.bias.double()
        # The gates are not scaled.
        scale = torch.cat([layer.scale, torch.ones_like(layer.scale)]).double()
        weight = torch.cat([weight, bias[:, None], torch.ones_like(gain)[:, None]], 1)
        weight *= (gain * scale)[:, None]
        self._conv2 = GatedConvolution(weight[:, :, None, None].float(), (shift * scale).float(), dtype)

    def __call__(self, x: Tensor) -> None:
        """Add the result to `[B, C, F, T]`."""
        b, _, f, t = x.shape
        rows = _normalised_rows(self._conv1(x), self._norm1)
        rows = F.gelu(rows)
        if self._lstm is not None:
            rows = self._lstm(rows)
        if self._attention is not None:
            rows = self._attention(rows)
        hidden = self._scaled(rows).view(b, f, t, -1).permute(0, 3, 1, 2)
        for x_piece, hidden_piece in pieces(x, hidden):
            x_piece.addcmul_(*self._conv2.parts(hidden_piece))

    def _scaled(self, rows: Tensor) -> Tensor:
        """Rows `[N, T, H]` times r, with channels r and -m r: `[N, T, H + 2]`."""
        mean_h, square_h = _moments(rows)
        mean = (mean_h * self._mean_weight).sum(1) + self._mean_bias
        square = (square_h * self._square_weight).sum((1, 2)) + (mean_h * self._cross_weight).sum(1)
        variance = square + self._square_bias - mean**2
        r = (variance.clamp(min=0) + self._eps).rsqrt()[:, None]
        h = rows.shape[2]
        out = rows.new_empty(*rows.shape[:2], h + 2)
        torch.mul(rows, r[..., None].to(rows.dtype), out=out[..., :h])
        out[..., h] = r
        out[..., h + 1] = -mean[:, None] * r
        return out


def _normalised_rows(x: Tensor, norm: ExactGroupNorm) -> Tensor:
    """Normalise each row of `[B, H, F, T]` over channels and times: `[N, T, H]`."""
    b, h, f, t = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b * f, t, h)
    if b * f > 1:
        # Normalising a row is independent of its layout, except for gain and bias.
        gain, bias = (value.expand(t, h).contiguous() for value in (norm.weight, norm.bias))
        return F.layer_norm(rows, (t, h), gain, bias, norm.eps)
    # torch computes the moments of one row in one thread and without vectors, but sums of tensors in all.
    values = rows.float()
    mean = values.mean()
    variance = (values - mean).square_().mean()
    return F.batch_norm(
        rows.permute(0, 2, 1)[..., None].contiguous(memory_format=torch.channels_last),
        mean.repeat(h),
        variance.repeat(h),
        norm.weight,
        norm.bias,
        eps=norm.eps,
    )[..., 0].transpose(1, 2)


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Means over time of the columns h of `[N, T, H]`, and of h h', in float32: `[N, H]` and `[N, H, H]`."""
    n, t, h = rows.shape
    rows = rows.float()
    whole = t - t % SPAN
    total = torch.zeros(n, h, h)
    for part in (rows[:, :whole].reshape(-1, SPAN, h), rows[:, whole:]):
        if part.numel():
            total += torch.bmm(part.transpose(1, 2), part).view(n, -1, h, h).sum(1)
    return rows.mean(1), total / t
