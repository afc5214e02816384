"""Demucs: the U-Net over waveforms (arXiv 1911.13254; with residual branches arXiv 2111.03600).

Letters in shapes: B batch, S sources, C channels, L samples.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from julius.resample import resample_frac
from torch import Tensor, nn

from hdemucs.model.base import Network, NetworkConfig, bounded
from hdemucs.model.layers import (
    DecoderLayer,
    EncoderLayer,
    Residual,
    ResidualIn,
    Strided,
    output_axes,
    rescale,
)
from hdemucs.model.lstm import BLSTM
from hdemucs.model.norm import standardise

KERNEL = 8
STRIDE = 4


def center_trim(x: Tensor, length: int) -> Tensor:
    """Cut the last axis to its middle `length` positions; of an odd excess, the right end loses one more."""
    start = (x.shape[-1] - length) // 2
    return x[..., start : start + length]


@dataclass(frozen=True)
class DemucsConfig(NetworkConfig):
    """Settings of Demucs. The defaults are version 3, with residual branches and group normalisation.

    Version 2 is `Demucs(sources, lstm_layers=2, activation="relu", norm_starts=999, residual="none")`.

    Attributes:
        channels: Number of channels after the first layer; each further layer doubles it.
        depth: Number of encoder layers.
        rewrite: Whether layers have a second convolution, with GLU.
        lstm_layers: Number of layers of the wide LSTM between encoder and decoder; 0 for none.
        activation: Activation after the strided convolutions.
        norm_starts: First layer with group normalisation, counted from 0.
        norm_groups: Number of groups in group normalisation.
        residual: Which half of the network has residual branches.
        lstm_starts: First layer whose residual branch has LSTMs, counted from 0.
        attention_starts: First layer whose residual branch has local attention, counted from 0.
        normalize: Whether to scale each mixture to mean 0 and standard deviation 1, and the estimates back.
        resample: Whether to work at twice the sample rate (arXiv 1911.13254).
    """

    channels: int = bounded(64, 1, 4096)
    depth: int = bounded(6, 1, 16)
    rewrite: bool = True
    lstm_layers: int = bounded(0, 0, 16)
    activation: Literal["gelu", "relu"] = "gelu"
    norm_starts: int = bounded(4, 0, 10_000)
    norm_groups: int = bounded(4, 1, 4096)
    residual: ResidualIn = "encoder"
    lstm_starts: int = bounded(4, 0, 10_000)
    attention_starts: int = bounded(4, 0, 10_000)
    normalize: bool = True
    resample: bool = True


class Demucs(Network):
    """Demucs, built from the settings of `DemucsConfig`: `Demucs(["vocals", "rest"], channels=32)`."""

    Config = DemucsConfig
    config: DemucsConfig
    tiny = MappingProxyType({"channels": 4, "depth": 3, "norm_starts": 2, "attention_starts": 99})

    def _build(self) -> None:
        config = self.config
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for index in range(config.depth):
            self._add_layer(index)
        inner = config.channels * 2 ** (config.depth - 1)
        self.lstm = (
            BLSTM(inner, config.lstm_layers, max_span=None, skip=False) if config.lstm_layers else None
        )
        rescale(self)

    def _add_layer(self, index: int) -> None:
        config = self.config
        geometry = Strided("time", KERNEL, STRIDE)
        activation = F.gelu if config.activation == "gelu" else F.relu
        channels = config.channels * 2**index
        inputs, outputs = channels // 2, channels // 2
        if index == 0:
            inputs, outputs = config.audio_channels, config.audio_channels * len(config.sources)
        groups = config.norm_groups if index >= config.norm_starts else None
        branch = Residual(index >= config.lstm_starts, index >= config.attention_starts)
        encoder = EncoderLayer(
            inputs,
            channels,
            geometry,
            groups,
            branch if config.residual in ("encoder", "both") else None,
            config.rewrite,
            activation,
        )
        decoder = DecoderLayer(
            channels,
            outputs,
            geometry,
            groups,
            branch if config.residual in ("decoder", "both") else None,
            context=(False, True),
            rewrite=config.rewrite,
            activation=activation if index else None,
            norm2_groups=groups if index else None,
        )
        self.encoder.append(encoder)
        self.decoder.insert(0, decoder)

    def valid_length(self, length: int) -> int:
        """Next input length, in samples, at which every convolution comes out even.

        `forward` pads with zeros up to it; a caller that has the neighbouring audio pads with that instead.
        """
        length *= 2 if self.config.resample else 1
        for _ in range(self.config.depth):
            length = max(1, -(-(length - KERNEL) // STRIDE) + 1)
        for _ in range(self.config.depth):
            length = (length - 1) * STRIDE + KERNEL
        return -(-length // 2) if self.config.resample else length

    def source_axes(self) -> dict[str, int]:
        """See `Network.source_axes`."""
        return output_axes(self.decoder, "decoder")

    def forward(self, mix: Tensor) -> Tensor:
        """Separate a mixture `[B, C, L]`, L at least 1, into `[B, S, C, L]`; ValueError for another shape."""
        self.check_mix(mix)
        length = mix.shape[-1]
        x = mix
        if self.config.normalize:
            _, mean, std = standardise(mix.mean(1, keepdim=True), (2,))
            x = (mix - mean) / (1e-5 + std)
        missing = self.valid_length(length) - length
        x = F.pad(x, (missing // 2, missing - missing // 2))
        if self.config.resample:
            x = resample_frac(x, 1, 2)
        x = self.to_inner(x)[:, :, None].contiguous(memory_format=torch.channels_last)
        x = self._u_net(x)[:, :, 0].to(mix.dtype)
        if self.config.resample:
            x = resample_frac(x, 2, 1)
        x = center_trim(x, length)
        if self.config.normalize:
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
            # Without an LSTM, the innermost layer's input is its own skip connection, counted twice.
            inner = skip if y is None else y
            y, _ = decode(inner, center_trim(skip, inner.shape[-1]))
        assert y is not None
        return y
