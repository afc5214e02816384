"""Local attention: scores from content, with a learnt penalty on distance (arXiv 2111.03600, section 3)."""

import torch
from torch import Tensor, nn

SELF_SCORE = -100.0
"""Score of a position with itself: the residual connection already carries its content."""


class LocalAttention(nn.Module):
    """Multi-head attention without position embedding; each query sets how fast it decays with distance.

    Args:
        channels: Number of input and output channels, a multiple of `heads`.
        heads: Number of heads, 4 in the paper.
        decays: Number of distance penalties, with slopes 1 to `decays`, that a query weights by sigmoids; 4
            in the paper.

    Raises:
        ValueError: `channels` is not a multiple of `heads`.
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
        # Almost no decay at first: attention starts with the widest window.
        assert self.query_decay.bias is not None
        if not self.query_decay.weight.is_meta:
            with torch.no_grad():
                self.query_decay.weight.mul_(0.01)
                self.query_decay.bias.fill_(-2)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels, T]` to the same shape, residual connection included."""
        n, channels, positions = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(n, self.heads, -1, positions).transpose(-1, -2)

        query, key, content = split(self.query(x)), split(self.key(x)), split(self.content(x))
        # Distances above 256 are not exact in bfloat16.
        dtype = torch.promote_types(x.dtype, torch.float32)
        slopes = torch.arange(1, self.decays + 1, dtype=dtype, device=x.device)
        decay = torch.sigmoid(split(self.query_decay(x)).to(dtype)) @ (slopes / (2 * self.decays**0.5))
        place = torch.arange(positions, dtype=dtype, device=x.device)
        distance = (place[:, None] - place).abs()

        scores = query @ key.transpose(-1, -2) / (channels // self.heads) ** 0.5
        scores = scores - decay[..., None] * distance
        scores.diagonal(dim1=-2, dim2=-1).fill_(SELF_SCORE)
        y = (scores.softmax(-1).to(x.dtype) @ content).transpose(-1, -2).reshape(n, channels, positions)
        out: Tensor = x + self.proj(y)
        return out
