"""LSTM and local attention over sequences `[N, T, C]`: sequences, time positions, channels."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdemucs.model.attention import SELF_SCORE, LocalAttention
from hdemucs.model.lstm import BLSTM

QUERIES = 256
"""Number of queries whose scores are computed at a time."""


class FastBLSTM(nn.Module):
    """Fast form of `BLSTM`: the linear layer skips the halves of the spans that are not kept."""

    def __init__(self, blstm: BLSTM, dtype: torch.dtype) -> None:
        super().__init__()
        self._blstm = copy.copy(blstm)
        lstm = blstm.lstm
        if lstm.weight_hh_l0.dtype != dtype:
            lstm = copy.deepcopy(lstm).to(dtype)
        self._blstm._modules = {"lstm": lstm, "linear": nn.Identity()}
        self._blstm.skip = False
        self._weight, self._bias = blstm.linear.weight.to(dtype), blstm.linear.bias.to(dtype)
        self._skip = blstm.skip

    def forward(self, x: Tensor) -> Tensor:
        """Sequences `[N, T, dim]` to the same shape."""
        y = F.linear(self._blstm(x), self._weight, self._bias)
        return y.add_(x) if self._skip else y


class FastAttention:
    """Fast form of `LocalAttention`: one product for all projections, and scores that stay in the cache."""

    def __init__(self, attention: LocalAttention, dtype: torch.dtype) -> None:
        self._heads, self._decays = attention.heads, attention.decays
        projections = (attention.query, attention.key, attention.content, attention.query_decay)
        self._weight = torch.cat([conv.weight[..., 0] for conv in projections]).to(dtype)
        self._bias = torch.cat([conv.bias for conv in projections if conv.bias is not None]).to(dtype)
        assert attention.proj.bias is not None
        self._out_weight = attention.proj.weight[..., 0].to(dtype)
        self._out_bias = attention.proj.bias.to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """`[N, T, C]` to the same shape, residual connection included."""
        n, positions, channels = x.shape
        heads = self._heads
        sizes = [channels, channels, channels, heads * self._decays]
        projected = F.linear(x, self._weight, self._bias).split(sizes, 2)
        query, key, content, decays = (y.unflatten(2, (heads, -1)).transpose(1, 2) for y in projected)
        slopes = torch.arange(1.0, self._decays + 1) / (2 * self._decays**0.5)
        decay = torch.sigmoid(decays.float()) @ slopes
        own = (query.float() * key.float()).sum(-1) / (channels // heads) ** 0.5
        place = torch.arange(float(positions))
        out = x.new_empty(n, positions, heads, channels // heads)
        for start in range(0, positions, QUERIES):
            end = min(positions, start + QUERIES)
            bias = -decay[:, :, start:end, None] * (place[start:end, None] - place).abs()
            bias.diagonal(start, -2, -1).copy_(SELF_SCORE - own[:, :, start:end])
            attended = F.scaled_dot_product_attention(
                query[:, :, start:end], key, content, attn_mask=bias.to(x.dtype)
            )
            out[:, start:end] = attended.transpose(1, 2)
        return F.linear(out.flatten(2), self._out_weight, self._out_bias).add_(x)
