"""Compressed residual branches (arXiv 2111.03600, section 3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from hdemucs.model.attention import LocalAttention
from hdemucs.model.lstm import BLSTM
from hdemucs.model.norm import ExactGroupNorm, project_normalised

COMPRESSION = 4
DEPTH = 2
INITIAL_SCALE = 1e-4


class ResidualLayer(nn.Module):
    """Dilated convolution to a fraction of the channels, LSTM and attention there, and a convolution back.

    The result is scaled by a learnt factor per channel, small at first, and added to the input.

    Args:
        channels: Number of input and output channels.
        dilation: Dilation of the convolution of width 3, in time positions.
        lstm: Whether the layer has an LSTM.
        attention: Whether the layer has local attention.
        compression: Number of channels of the input for each one inside the layer.
        initial_scale: Initial factor of the result.

    Raises:
        ValueError: There are too few channels.
    """

    def __init__(
        self,
        channels: int,
        dilation: int,
        lstm: bool,
        attention: bool,
        compression: int = COMPRESSION,
        initial_scale: float = INITIAL_SCALE,
    ) -> None:
        super().__init__()
        hidden = channels // compression
        if not hidden:
            raise ValueError(f"residual branches need at least {compression} channels, not {channels}")
        self.conv1 = nn.Conv2d(channels, hidden, (1, 3), dilation=(1, dilation), padding=(0, dilation))
        self.norm1 = ExactGroupNorm(1, hidden)
        self.lstm = BLSTM(hidden) if lstm else None
        self.attention = LocalAttention(hidden) if attention else None
        self.conv2 = nn.Conv2d(hidden, 2 * channels, 1)
        self.norm2 = nn.GroupNorm(1, 2 * channels)
        self.scale = Parameter(torch.full((channels,), initial_scale))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, F, T]` to the same shape; different frequencies do not interact."""
        b, c, f, t = x.shape
        rows = self.conv1(x).permute(0, 2, 1, 3).reshape(b * f, -1, t)
        y = F.gelu(self.norm1(rows))
        if self.lstm is not None:
            y = self.lstm(y.transpose(1, 2)).transpose(1, 2)
        if self.attention is not None:
            y = self.attention(y)
        y = F.glu(project_normalised(y, self.conv2, self.norm2), -1)
        return torch.addcmul(x, y.view(b, f, t, c).permute(0, 3, 1, 2), self.scale.view(-1, 1, 1))


class ResidualBranch(nn.Sequential):
    """Two residual layers, with dilations 1 and 2.

    Args:
        channels: Number of input and output channels.
        lstm: Whether the layers have an LSTM.
        attention: Whether the layers have local attention.
        compression: Number of channels of the input for each one inside a layer.
        initial_scale: Initial factor of each layer's result.
    """

    def __init__(
        self,
        channels: int,
        lstm: bool,
        attention: bool,
        compression: int = COMPRESSION,
        initial_scale: float = INITIAL_SCALE,
    ) -> None:
        layers = (
            ResidualLayer(channels, 2**d, lstm, attention, compression, initial_scale) for d in range(DEPTH)
        )
        super().__init__(*layers)
