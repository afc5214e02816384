"""Bidirectional LSTM over overlapping frames (arXiv 2111.03600, section 3)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class BLSTM(nn.Module):
    """Bidirectional LSTM with a linear layer back to the input's width.

    Args:
        dim: channels in, hidden, and out.
        layers: of the LSTM.
        max_steps: longer sequences are cut into frames of this many steps, half overlapping, of which
            the middle halves are kept; the cost then grows with the length and gradients stay short.
            None: one pass over everything, as in Demucs v2 (arXiv 1911.13254).
        skip: add the input to the output.
    """

    def __init__(self, dim: int, layers: int = 2, max_steps: int | None = 200, skip: bool = True) -> None:
        super().__init__()
        self.max_steps = max_steps
        self.skip = skip
        self.lstm = nn.LSTM(dim, dim, num_layers=layers, bidirectional=True)
        self.linear = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences `[N, T, dim]` to the same shape."""
        if self.max_steps is None or x.shape[1] <= self.max_steps:
            y = self._run(x.transpose(0, 1)).transpose(0, 1)
        else:
            y = self._run_framed(x, self.max_steps)
        return x + y if self.skip else y

    def _run(self, steps: Tensor) -> Tensor:
        y: Tensor = self.linear(self.lstm(steps)[0])
        return y

    def _run_framed(self, x: Tensor, width: int) -> Tensor:
        n, length, _ = x.shape
        stride, margin = width // 2, width // 4
        count = -(-length // stride)
        padded = F.pad(x, (0, 0, 0, (count - 1) * stride + width - length))
        frames = padded.unfold(1, width, stride)
        y = self._run(rearrange(frames, "n k c w -> w (n k) c"))
        y = rearrange(y, "w (n k) c -> n k w c", n=n)
        middles = y[:, :, margin:-margin].flatten(1, 2)
        return torch.cat([y[:, 0, :margin], middles, y[:, -1, -margin:]], 1)[:, :length]
