"""Bidirectional LSTM over overlapping spans (arXiv 2111.03600, section 3)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class BLSTM(nn.Module):
    """Bidirectional LSTM with a linear layer back to the input's width.

    Args:
        dim: Number of input, hidden and output channels.
        layers: Number of LSTM layers.
        max_span: Longest span, in time positions. Longer sequences are cut into spans that overlap by half,
            and the middle half of each is kept: all spans run in parallel, and gradients take short paths.
            None runs over the whole sequence at once, as in Demucs v2 (arXiv 1911.13254).
        skip: Whether to add the input to the output.
    """

    def __init__(self, dim: int, layers: int = 2, max_span: int | None = 200, skip: bool = True) -> None:
        super().__init__()
        self.max_span = max_span
        self.skip = skip
        self.lstm = nn.LSTM(dim, dim, num_layers=layers, bidirectional=True)
        self.linear = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences `[N, T, dim]` to the same shape."""
        if self.max_span is None or x.shape[1] <= self.max_span:
            y = self._run(x.transpose(0, 1)).transpose(0, 1)
        else:
            y = self._run_spans(x, self.max_span)
        return x + y if self.skip else y

    def _run(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.lstm(x)[0])
        return y

    def _run_spans(self, x: Tensor, width: int) -> Tensor:
        n, length, _ = x.shape
        stride, margin = width // 2, width // 4
        count = -(-length // stride)
        padded = F.pad(x, (0, 0, 0, (count - 1) * stride + width - length))
        spans = padded.unfold(1, width, stride)
        y = self._run(rearrange(spans, "n k c w -> w (n k) c"))
        y = rearrange(y, "w (n k) c -> n k w c", n=n)
        middles = y[:, :, margin:-margin].flatten(1, 2)
        return torch.cat([y[:, 0, :margin], middles, y[:, -1, -margin:]], 1)[:, :length]
