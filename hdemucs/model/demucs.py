"""Demucs: the U-Net over waveforms (arXiv 1911.13254; with residual branches arXiv 2111.03600).

Letters in shapes: B batch, S sources, C channels, L samples.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from julius.resample import resample_frac
from torch import Tensor, nn

from hdemucs.model.layers import (
    DecoderLayer,
    EncoderLayer,
    Residual,
    ResidualIn,
    Strided,
    check_choice,
    check_mix,
    check_sources,
    rescale,
)
from hdemucs.model.lstm import BLSTM
from hdemucs.model.norm import standardise

KERNEL = 8
STRIDE = 4


def center_trim(x: Tensor, length: int) -> Tensor:
    """The middle `length` steps of the last axis; of an odd excess, the larger half goes on the right."""
    start = (x.shape[-1] - length) // 2
    return x[..., start : start + length]


class Demucs(nn.Module):
    """Demucs. The defaults are version 3, with residual branches and group normalisation.

    Version 2 is `Demucs(..., lstm_layers=2, activation="relu", norm_starts=999, residual="none")`.

    Args:
        sources: names of what comes out, in order.
        audio_channels: of the mixture and of each source.
        channels: after the first layer; doubled by each further one.
        depth: layers of the encoder.
        rewrite: whether layers have their convolution with GLU.
        lstm_layers: of the wide LSTM between encoder and decoder, 0 without.
        activation: after the strided convolutions.
        norm_starts: first layer with group normalisation.
        norm_groups: of the group normalisation.
        residual: which half has residual branches.
        lstm_starts, attention_starts: first layer whose residual branches have them.
        normalize: bring each mixture to deviation 1, and what comes out back.
        resample: work at twice the sample rate (arXiv 1911.13254).
        sample_rate: in Hz, of the audio that it was trained on.
        segment: seconds of audio that it is best applied to at once.

    Raises:
        ValueError: settings that make no network.
    """

    def __init__(
        self,
        sources: Sequence[str],
        audio_channels: int = 2,
        channels: int = 64,
        depth: int = 6,
        rewrite: bool = True,
        lstm_layers: int = 0,
        activation: Literal["gelu", "relu"] = "gelu",
        norm_starts: int = 4,
        norm_groups: int = 4,
        residual: ResidualIn = "encoder",
        lstm_starts: int = 4,
        attention_starts: int = 4,
        normalize: bool = True,
        resample: bool = True,
        sample_rate: int = 44100,
        segment: float = 40,
    ) -> None:
        super().__init__()
        self.sources = list(sources)
        self.audio_channels = audio_channels
        self.channels = channels
        self.depth = depth
        self.rewrite = rewrite
        self.lstm_layers = lstm_layers
        self.activation = activation
        self.norm_starts = norm_starts
        self.norm_groups = norm_groups
        self.residual = residual
        self.lstm_starts = lstm_starts
        self.attention_starts = attention_starts
        self.normalize = normalize
        self.resample = resample
        self.sample_rate = sample_rate
        self.segment = segment
        check_sources(self.sources)
        check_choice("residual", residual, ResidualIn)
        check_choice("activation", activation, Literal["gelu", "relu"])

        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for index in range(depth):
            self._add_layer(index)
        inner = channels * 2 ** (depth - 1)
        self.lstm = BLSTM(inner, lstm_layers, max_steps=None, skip=False) if lstm_layers else None
        rescale(self)

    def _add_layer(self, index: int) -> None:
        geometry = Strided("time", KERNEL, STRIDE)
        activation = F.gelu if self.activation == "gelu" else F.relu
        channels = self.channels * 2**index
        inputs, outputs = channels // 2, channels // 2
        if index == 0:
            inputs, outputs = self.audio_channels, self.audio_channels * len(self.sources)
        groups = self.norm_groups if index >= self.norm_starts else None
        branch = Residual(index >= self.lstm_starts, index >= self.attention_starts)
        encoder = EncoderLayer(
            inputs,
            channels,
            geometry,
            groups,
            branch if self.residual in ("encoder", "both") else None,
            self.rewrite,
            activation,
        )
        decoder = DecoderLayer(
            channels,
            outputs,
            geometry,
            groups,
            branch if self.residual in ("decoder", "both") else None,
            context=(False, True),
            rewrite=self.rewrite,
            activation=activation if index else None,
            norm2_groups=groups if index else None,
        )
        self.encoder.append(encoder)
        self.decoder.insert(0, decoder)

    def valid_length(self, length: int) -> int:
        """Samples to feed for `length` to come out: the next length at which no convolution has steps left
        over. `forward` pads with zeros up to it; a caller that has real neighbours pads with those."""
        length *= 2 if self.resample else 1
        for _ in range(self.depth):
            length = max(1, -(-(length - KERNEL) // STRIDE) + 1)
        for _ in range(self.depth):
            length = (length - 1) * STRIDE + KERNEL
        return -(-length // 2) if self.resample else length

    def forward(self, mix: Tensor) -> Tensor:
        """Separate a mixture.

        Args:
            mix: `[B, C, L]`, L at least 1, C = audio_channels.

        Returns:
            `[B, S, C, L]`.

        Raises:
            ValueError: another shape.
        """
        check_mix(mix, self.audio_channels)
        length = mix.shape[-1]
        x = mix
        if self.normalize:
            _, mean, std = standardise(mix.mean(1, keepdim=True), (2,))
            x = (mix - mean) / (1e-5 + std)
        missing = self.valid_length(length) - length
        x = F.pad(x, (missing // 2, missing - missing // 2))
        if self.resample:
            x = resample_frac(x, 1, 2)
        x = self._u_net(x[:, :, None].contiguous(memory_format=torch.channels_last))[:, :, 0]
        if self.resample:
            x = resample_frac(x, 2, 1)
        x = center_trim(x, length)
        if self.normalize:
            x = x * std + mean
        return rearrange(x, "b (s c) l -> b s c l", s=len(self.sources))

    def _u_net(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        y: Tensor | None = None
        if self.lstm is not None:
            y = self.lstm(x[:, :, 0].transpose(1, 2)).transpose(1, 2)[:, :, None]
        for decode in self.decoder:
            skip = skips.pop()
            # Without LSTM the innermost layer's input is its own skip connection, counted twice.
            inner = skip if y is None else y
            y, _ = decode(inner, center_trim(skip, inner.shape[-1]))
        assert y is not None
        return y
