"""Cross-domain transformer encoder: self-attention within each branch, cross-attention between the branches
(arXiv 2211.08553, section 2.2).

The paper's sparse attention is left out: no published checkpoint uses it, and its kernels were not released.

Letters in shapes: B batch, N positions, D channels, F frequencies, T frames or time positions.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import Parameter

INITIAL_SCALE = 1e-4
MAX_PERIOD = 10_000.0
"""Longest period of a positional encoding, over 2 pi, in positions."""


class SequenceNorm(nn.GroupNorm):
    """Normalisation over all positions and channels of a sequence `[B, N, D]` as one group."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[1:], eps=self.eps), self.weight)


class TransformerLayer(nn.Module):
    """Attention, then a feed-forward network; each is normalised first, scaled, and added to its input.

    Args:
        dim: Number of channels, a multiple of `heads`.
        heads: Number of attention heads.
        hidden: Number of channels inside the feed-forward network.
        dropout: Probability of dropping a value, and an attention weight, in training.
        cross: Whether the layer attends to another sequence rather than to its own.
    """

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(dim)
        self.norm_context = nn.LayerNorm(dim) if cross else None
        self.attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.norm_hidden = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)
        self.attention_scale = Parameter(torch.full((dim,), INITIAL_SCALE))
        self.hidden_scale = Parameter(torch.full((dim,), INITIAL_SCALE))
        self.norm_out = SequenceNorm(1, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape; a layer with cross-attention attends to `context`, `[B, M, D]`."""
        query = self.norm_query(x)
        key = query if self.norm_context is None else self.norm_context(context)
        attended, _ = self.attention(query, key, key, need_weights=False)
        x = torch.addcmul(x, self.attention_scale, self.dropout(attended))
        y = self.linear2(self.dropout(F.gelu(self.linear1(self.norm_hidden(x)))))
        x = torch.addcmul(x, self.hidden_scale, self.dropout(y))
        out: Tensor = self.norm_out(x)
        return out


class TransformerBranch(nn.Module):
    """Layers of one branch, and the way from its channels to those of the transformer and back.

    Args:
        channels: Number of channels of the branch.
        bottom_channels: Number of channels of the transformer; 0 for those of the branch, without projection.
        layers: Number of layers; every second one has cross-attention.
        heads: Number of attention heads.
        hidden: Number of channels inside the feed-forward networks.
        dropout: Probability of dropping a value, and an attention weight, in training.
    """

    def __init__(
        self, channels: int, bottom_channels: int, layers: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        dim = bottom_channels or channels
        self.project_in = nn.Linear(channels, dim) if bottom_channels else nn.Identity()
        self.norm_in = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(
            TransformerLayer(dim, heads, hidden, dropout, cross=index % 2 == 1) for index in range(layers)
        )
        self.project_out = nn.Linear(dim, channels) if bottom_channels else nn.Identity()

    def enter(self, x: Tensor, encoding: Tensor) -> Tensor:
        """Sequence `[B, F * T, D]` from `[B, C, F, T]` and the encoding `[F * T, D]` of its positions."""
        # In channels-last memory this is a view. The order of positions matters to none of the layers.
        positions = x.permute(0, 2, 3, 1).flatten(1, 2)
        out: Tensor = self.norm_in(self.project_in(positions))
        return out + encoding.to(out.dtype)

    def leave(self, positions: Tensor, frequencies: int) -> Tensor:
        """Inverse of `enter`, without the encoding: `[B, F * T, D]` to `[B, C, F, T]`."""
        out: Tensor = self.project_out(positions)
        return out.unflatten(1, (frequencies, -1)).permute(0, 3, 1, 2)


class CrossTransformer(nn.Module):
    """Transformer over the spectrogram and the waveform branch at once; see `TransformerBranch`."""

    def __init__(
        self, channels: int, bottom_channels: int, layers: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.dim = bottom_channels or channels
        self.freq = TransformerBranch(channels, bottom_channels, layers, heads, hidden, dropout)
        self.time = TransformerBranch(channels, bottom_channels, layers, heads, hidden, dropout)

    def forward(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Transform the spectrogram `[B, C, F, T]` and the waveform `[B, C, 1, T']`; same shapes."""
        frequencies, frames = x.shape[2:]
        y = self.freq.enter(x, encode_grid(frequencies, frames, self.dim, x.device).flatten(0, 1))
        yt = self.time.enter(xt, encode_line(xt.shape[3], self.dim, x.device))
        for layer, layer_t in zip(self.freq.layers, self.time.layers, strict=True):
            y, yt = layer(y, yt), layer_t(yt, y)
        return self.freq.leave(y, frequencies), self.time.leave(yt, 1)


def encode_line(length: int, dim: int, device: torch.device | str = "cpu") -> Tensor:
    """Sinusoidal encoding of the positions on a line, `[length, dim]`: all cosines, then all sines.

    Encodings are computed in float32 whatever the precision of the network, as they were in training: the
    phases are so large that rounding them differently would change the result.
    """
    half = dim // 2
    periods = MAX_PERIOD ** (torch.arange(half, device=device) / (half - 1))
    phase = torch.arange(length, device=device)[:, None] / periods
    return torch.cat([phase.cos(), phase.sin()], 1)


def encode_grid(frequencies: int, frames: int, dim: int, device: torch.device | str = "cpu") -> Tensor:
    """Sinusoidal encoding `[F, T, dim]`: frames in the first half of the channels, frequencies in the second.

    Sines and cosines alternate.
    """

    def alternating(length: int) -> Tensor:
        half = dim // 2
        rates = torch.exp(torch.arange(0.0, half, 2, device=device) * (-math.log(MAX_PERIOD) / half))
        phase = torch.arange(float(length), device=device)[:, None] * rates
        return torch.stack([phase.sin(), phase.cos()], 2).flatten(1)

    by_frame = alternating(frames).expand(frequencies, -1, -1)
    by_frequency = alternating(frequencies)[:, None].expand(-1, frames, -1)
    return torch.cat([by_frame, by_frequency], 2)
