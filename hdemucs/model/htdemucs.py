"""Hybrid Transformer Demucs: Hybrid Demucs with a transformer in place of its innermost layers
(arXiv 2211.08553, section 2).

Letters in shapes: B batch, S sources, C channels, F frequencies, T frames or time positions, L samples.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hdemucs.model.base import Network, NetworkConfig, bounded
from hdemucs.model.layers import (
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    Residual,
    Strided,
    channels_last,
    output_axes,
    rescale,
)
from hdemucs.model.norm import standardise
from hdemucs.model.spectrogram import Analysis, Synthesis
from hdemucs.model.transformer import CrossTransformer

KERNEL = 8
STRIDE = 4
BRANCH = Residual(lstm=False, attention=False, compression=8, initial_scale=1e-3)
"""Residual branch of every layer: half as wide as in Hybrid Demucs, without LSTM and local attention."""


@dataclass(frozen=True)
class HTDemucsConfig(NetworkConfig):
    """Settings of Hybrid Transformer Demucs. The defaults are the published `htdemucs`: 42.0 M parameters.

    They cover the published checkpoints and the comparisons of the paper, except sparse attention.

    Attributes:
        segment: Length of the excerpts that the network was trained on, in seconds. Shorter inputs are padded
            to it with zeros, and longer ones are refused.
        channels: Number of channels after the first layer; each further layer doubles it.
        depth: Number of layers around the transformer, in each branch.
        n_fft: Window length of the STFT in samples, a power of two; the hop is a quarter of it.
        freq_emb: Weight of the frequency embedding after the first layer; 0 for none.
        bottom_channels: Number of channels of the transformer, a multiple of 4 and of `heads`; 0 for those of
            the innermost layers, without a projection, as in the published `htdemucs_6s`.
        layers: Number of transformer layers, alternately with self-attention and with cross-attention.
        heads: Number of attention heads.
        hidden_scale: Width of the feed-forward networks, relative to that of the transformer.
        dropout: Probability of dropping a value of the transformer in training; 0.02 in the published runs.
    """

    segment: float = bounded(7.8, 1e-3, 1e6, kw_only=True)
    channels: int = bounded(48, 8, 4096)
    depth: int = bounded(4, 1, 16)
    n_fft: int = bounded(4096, 32, 1 << 16)
    freq_emb: float = bounded(0.2, 0, 1000)
    bottom_channels: int = bounded(512, 0, 1 << 16)
    layers: int = bounded(5, 1, 64)
    heads: int = bounded(8, 1, 1024)
    hidden_scale: float = bounded(4.0, 0.1, 64)
    dropout: float = bounded(0.0, 0, 0.99)

    @property
    def dim(self) -> int:
        """Number of channels of the transformer."""
        return self.bottom_channels or self.channels * 2 ** (self.depth - 1)

    def _check(self) -> None:
        if self.n_fft & (self.n_fft - 1):
            raise ValueError(f"n_fft must be a power of two, not {self.n_fft}")
        if self.n_fft // 2 <= KERNEL * STRIDE ** (self.depth - 1):
            raise ValueError(f"depth {self.depth} is too large for the frequencies of n_fft {self.n_fft}")
        if self.dim < 4 or self.dim % 4 or self.dim % self.heads:
            raise ValueError(
                f"the transformer's channels must be a multiple of 4 and of heads {self.heads}, "
                f"not {self.dim}"
            )


class HTDemucs(Network):
    """Hybrid Transformer Demucs, built from the settings of `HTDemucsConfig`: `HTDemucs(["vocals"])`."""

    Config = HTDemucsConfig
    config: HTDemucsConfig
    tiny = MappingProxyType(
        {
            "channels": 8,
            "depth": 2,
            "n_fft": 256,
            "bottom_channels": 12,
            "layers": 3,
            "heads": 3,
            "segment": 0.2,
        }
    )

    def _build(self) -> None:
        config = self.config
        self.analysis = Analysis(config.n_fft, "aligned")
        self.synthesis = Synthesis("aligned")
        self.freq_encoder = nn.ModuleList()
        self.freq_decoder = nn.ModuleList()
        self.time_encoder = nn.ModuleList()
        self.time_decoder = nn.ModuleList()
        for index in range(config.depth):
            self._add_layer(index)
        self.embedding: FrequencyEmbedding | None = None
        if config.freq_emb:
            self.embedding = FrequencyEmbedding(config.n_fft // 2 // STRIDE, config.channels, config.freq_emb)
        rescale(self)
        self.transformer = CrossTransformer(
            config.channels * 2 ** (config.depth - 1),
            config.bottom_channels,
            config.layers,
            config.heads,
            int(config.hidden_scale * config.dim),
            config.dropout,
        )

    def _add_layer(self, index: int) -> None:
        """Add layer `index` of the encoder and its decoder layer to each branch."""
        config = self.config
        channels = config.channels * 2**index
        frequency = Strided("frequency", KERNEL, STRIDE, KERNEL // 4)
        time = Strided("time", KERNEL, STRIDE, KERNEL // 4)
        for encoder, decoder, geometry, parts in (
            (self.freq_encoder, self.freq_decoder, frequency, 2),
            (self.time_encoder, self.time_decoder, time, 1),
        ):
            inputs = outputs = channels // 2
            if index == 0:
                inputs = parts * config.audio_channels
                outputs = inputs * len(config.sources)
            encoder.append(EncoderLayer(inputs, channels, geometry, None, BRANCH))
            context = (geometry is frequency, True)
            activation = F.gelu if index else None
            decoder.insert(
                0, DecoderLayer(channels, outputs, geometry, None, BRANCH, context, activation=activation)
            )

    @property
    def longest_segment(self) -> float:
        """The length of the excerpts that the network was trained on, in seconds."""
        return self.segment

    def valid_length(self, length: int) -> int:
        """The length of the training excerpts in samples, or `length` if that is more."""
        return max(length, round(self.segment * self.sample_rate))

    @property
    def min_length(self) -> int:
        """Shortest excerpt worth training on, in samples: one window of the STFT."""
        return self.config.n_fft

    def source_axes(self) -> dict[str, int]:
        """See `Network.source_axes`."""
        return {
            **output_axes(self.freq_decoder, "freq_decoder"),
            **output_axes(self.time_decoder, "time_decoder"),
        }

    def forward(self, mix: Tensor) -> Tensor:
        """Separate a mixture `[B, C, L]`, L from 1 to the segment, into `[B, S, C, L]`.

        Raises:
            ValueError: The mixture has another shape, or is longer than the segment.
        """
        self.check_mix(mix)
        length = mix.shape[-1]
        padded = self.valid_length(1)
        if length > padded:
            raise ValueError(
                f"a mixture must have at most {padded} samples, the {self.segment:g} s that the network was "
                f"trained on, not {length}"
            )
        mix = F.pad(mix, (0, padded - length))
        x, mean, std = standardise(self.analysis(mix), (1, 2, 3))
        xt, mean_t, std_t = standardise(mix, (1, 2))
        y, yt = self._u_net(channels_last(self.to_inner(x)), channels_last(self.to_inner(xt)[:, :, None]))
        out = self.synthesis(y, mean, std, padded) + (yt[:, :, 0].to(mix.dtype) * std_t + mean_t)
        return rearrange(out[..., :length], "b (s c) l -> b s c l", s=len(self.sources))

    def _u_net(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Run the spectrogram `[B, C, F, T]` and the waveform `[B, C, 1, L]` through both branches."""
        skips: list[tuple[Tensor, Tensor, int]] = []
        for encode, encode_t in zip(self.freq_encoder, self.time_encoder, strict=True):
            length = xt.shape[-1]
            x, xt = encode(x), encode_t(xt)
            if not skips and self.embedding is not None:
                x = self.embedding(x)
            skips.append((x, xt, length))
        x, xt = self.transformer(x, xt)
        for decode, decode_t in zip(self.freq_decoder, self.time_decoder, strict=True):
            skip, skip_t, length = skips.pop()
            x, _ = decode(x, skip)
            xt, _ = decode_t(xt, skip_t, length)
        return x, xt
