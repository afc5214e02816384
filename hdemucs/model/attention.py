"""Local attention: content decides, and a learnt penalty on distance keeps it near (arXiv 2111.03600,
section 3)."""

import torch
from torch import Tensor, nn

SELF_SCORE = -100.0
"""Score of a step with itself: attention brings what the residual connection does not have."""


class LocalAttention(nn.Module):
    """Multi-head attention without positions; each query chooses how fast attention decays with distance.

    Args:
        channels: in and out, a multiple of heads.
        heads: 4 in the paper.
        decays: penalties of slope 1..decays that a query weighs by a sigmoid, 4 in the paper.
    """

    def __init__(self, channels: int, heads: int = 4, decays: int = 4) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"local attention needs channels divisible by {heads} heads, not {channels}")
        self.heads = heads
        self.decays = decays
        self.content = nn.Conv1d(channels, channels, 1)
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.query_decay = nn.Conv1d(channels, heads * decays, 1)
        self.proj = nn.Conv1d(channels, channels, 1)
        # Almost no decay at first, so that attention starts with the widest window.
        assert self.query_decay.bias is not None
        if not self.query_decay.weight.is_meta:
            with torch.no_grad():
                self.query_decay.weight.mul_(0.01)
                self.query_decay.bias.fill_(-2)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels, T]` to the same shape, residual included."""
        n, channels, steps = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(n, self.heads, -1, steps).transpose(-1, -2)

        query, key, content = split(self.query(x)), split(self.key(x)), split(self.content(x))
        slopes = torch.arange(1, self.decays + 1, dtype=x.dtype, device=x.device)
        decay = torch.sigmoid(split(self.query_decay(x))) @ (slopes / (2 * self.decays**0.5))
        position = torch.arange(steps, dtype=x.dtype, device=x.device)
        distance = (position[:, None] - position).abs()

        scores = query @ key.transpose(-1, -2) / (channels // self.heads) ** 0.5
        scores = scores - decay[..., None] * distance
        scores.diagonal(dim1=-2, dim2=-1).fill_(SELF_SCORE)
        y = (scores.softmax(-1) @ content).transpose(-1, -2).reshape(n, channels, steps)
        out: Tensor = x + self.proj(y)
        return out
