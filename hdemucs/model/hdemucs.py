"""Hybrid Demucs: a U-Net with a spectrogram and a waveform branch (arXiv 2111.03600, sections 3 and 4).

Letters in shapes: B batch, S sources, C channels, F frequencies, T frames or time positions, L samples.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hdemucs.model import spectrogram as spectral
from hdemucs.model.base import Network, NetworkConfig, bounded
from hdemucs.model.layers import (
    BandedDecoder,
    BandedEncoder,
    DecoderLayer,
    Downsample,
    EncoderLayer,
    FrequencyEmbedding,
    Residual,
    ResidualIn,
    Strided,
    Upsample,
    channels_last,
    output_axes,
    rescale,
)
from hdemucs.model.norm import standardise

KERNEL = 8
STRIDE = 4
INNER_STRIDE = 2
"""Stride over time of the layers that both branches share."""
BANDED_LAYERS = 2
"""Number of outermost layers with separate weights per band, in a network that has bands."""


@dataclass(frozen=True)
class HDemucsConfig(NetworkConfig):
    """Settings of Hybrid Demucs. The defaults are the published model: 83.6 M parameters.

    Attributes:
        channels: Number of channels after the first layer; each further layer doubles it.
        depth: Number of encoder layers: over frequencies until one is left, then over time.
        n_fft: Window length of the STFT in samples, a power of two; the hop is a quarter of it.
        hybrid: Whether there is a waveform branch; without one, this is the spectrogram-only network that the
            paper compares with.
        spectrogram: `complex` takes and returns real and imaginary parts as channels; `amplitude` estimates
            magnitudes, to which the phase of the mixture is applied.
        wiener_iters: Number of Wiener filtering iterations if `spectrogram` is `amplitude`; -1 multiplies the
            mixture by masks instead, which keeps silent bins silent.
        old_padding: Whether to pad and align the STFT as some models of the MDX challenge do.
        bands: Edges, as fractions of the frequency axis, between bands with weights of their own in the two
            outermost layers; empty for the same weights everywhere.
        freq_emb: Weight of the frequency embedding after the first layer; 0 for none.
        norm_starts: First layer with group normalisation, counted from 0.
        norm_groups: Number of groups in group normalisation.
        residual: Which half of the network has residual branches; in published models, the encoder.
        lstm_starts: First layer whose residual branch has LSTMs, counted from 0.
        attention_starts: First layer whose residual branch has local attention, counted from 0.
    """

    channels: int = bounded(48, 1, 4096)
    depth: int = bounded(6, 1, 16)
    n_fft: int = bounded(4096, 32, 1 << 16)
    hybrid: bool = True
    spectrogram: Literal["complex", "amplitude"] = "complex"
    wiener_iters: int = bounded(0, -1, 1000)
    old_padding: bool = False
    bands: tuple[float, ...] = ()
    freq_emb: float = bounded(0.2, 0, 1000)
    norm_starts: int = bounded(4, 0, 10_000)
    norm_groups: int = bounded(4, 1, 4096)
    residual: ResidualIn = "encoder"
    lstm_starts: int = bounded(4, 0, 10_000)
    attention_starts: int = bounded(4, 0, 10_000)

    def _check(self) -> None:
        if self.n_fft & (self.n_fft - 1):
            raise ValueError(f"n_fft must be a power of two, not {self.n_fft}")
        if self.spectrogram == "amplitude" and self.wiener_iters > 0 and self.audio_channels > 2:
            raise ValueError("Wiener filtering needs one or two audio channels")
        if self.old_padding and not self.hybrid:
            raise ValueError("old_padding needs hybrid")
        if sorted(self.bands) != list(self.bands) or any(not 0 < edge < 1 for edge in self.bands):
            raise ValueError(f"bands must be increasing fractions between 0 and 1, not {list(self.bands)}")
        if self.bands and self.norm_starts < BANDED_LAYERS:
            raise ValueError("layers with bands cannot have normalisation; norm_starts must be at least 2")


class HDemucs(Network):
    """Hybrid Demucs, built from the settings of `HDemucsConfig`: `HDemucs(["vocals"], channels=16)`."""

    Config = HDemucsConfig
    config: HDemucsConfig
    tiny = MappingProxyType({"channels": 4, "depth": 5, "n_fft": 1024, "attention_starts": 99})

    def _build(self) -> None:
        self.freq_encoder = nn.ModuleList()
        self.freq_decoder = nn.ModuleList()
        self.time_encoder = nn.ModuleList()
        self.time_decoder = nn.ModuleList()
        self._add_layers()
        rescale(self)
        self.analysis = spectral.Analysis(self.config.n_fft, self._padding)
        self.synthesis = spectral.Synthesis(self._padding)

    def _geometries(self) -> list[Strided]:
        """Layers of the spectrogram branch: stride 4 over frequencies until one is left, then 2 over time."""
        config = self.config
        frequencies = config.n_fft // 2
        geometries: list[Strided] = []
        for _ in range(config.depth):
            if frequencies > KERNEL:
                geometries.append(Strided("frequency", KERNEL, STRIDE, KERNEL // 4))
                frequencies //= STRIDE
            elif frequencies > 1:
                geometries.append(Strided("frequency", frequencies, STRIDE))
                frequencies = 1
            else:
                geometries.append(Strided("time", 2 * INNER_STRIDE, INNER_STRIDE, INNER_STRIDE // 2))
        if config.hybrid and frequencies > 1:
            raise ValueError(
                f"depth {config.depth} is too small for the branches to meet at n_fft {config.n_fft}"
            )
        return geometries

    def _add_layers(self) -> None:
        config = self.config
        geometries = self._geometries()
        merge = sum(g.axis == "frequency" for g in geometries) - 1
        parts = 2 if config.spectrogram == "complex" else 1
        mix, out = config.audio_channels, config.audio_channels * len(config.sources)
        for index, geometry in enumerate(geometries):
            outer = (config.channels * 2 ** (index - 1),) * 2 if index else (mix, out)
            outer_z = outer if index else (parts * mix, parts * out)
            self._add_frequency_layer(index, outer_z, geometry)
            if config.hybrid and index < merge:
                geometry = Strided("time", KERNEL, STRIDE, KERNEL // 4)
                encoder, decoder = self._pair(index, outer, geometry, context=(False, True))
                self.time_encoder.append(encoder)
                self.time_decoder.insert(0, decoder)
            elif config.hybrid and index == merge:
                self._add_merge_layer(index, outer)
        self.embedding: FrequencyEmbedding | None = None
        if config.freq_emb:
            frequencies = config.n_fft // 2 // geometries[0].stride
            self.embedding = FrequencyEmbedding(frequencies, config.channels, config.freq_emb)

    def _groups(self, index: int) -> int | None:
        return self.config.norm_groups if index >= self.config.norm_starts else None

    def _pair(
        self, index: int, outer: tuple[int, int], geometry: Strided, context: tuple[bool, bool]
    ) -> tuple[EncoderLayer, DecoderLayer]:
        """Encoder layer `index` with `outer[0]` input channels; its decoder layer with `outer[1]` outputs."""
        config = self.config
        channels = config.channels * 2**index
        groups = self._groups(index)
        branch = Residual(index >= config.lstm_starts, index >= config.attention_starts)
        encoder = EncoderLayer(
            outer[0], channels, geometry, groups, branch if config.residual in ("encoder", "both") else None
        )
        decoder = DecoderLayer(
            channels,
            outer[1],
            geometry,
            groups,
            branch if config.residual in ("decoder", "both") else None,
            context,
            activation=F.gelu if index else None,
            norm2_groups=groups,
        )
        return encoder, decoder

    def _add_frequency_layer(self, index: int, outer: tuple[int, int], geometry: Strided) -> None:
        bands = self.config.bands if index < BANDED_LAYERS else ()
        context = (geometry.axis == "frequency" and not bands, True)
        pairs = [self._pair(index, outer, geometry, context) for _ in range(len(bands) + 1)]
        encoder: nn.Module
        decoder: nn.Module
        encoder, decoder = pairs[0]
        if bands:
            encoder = BandedEncoder([pair[0] for pair in pairs], bands)
            decoder = BandedDecoder([pair[1] for pair in pairs], bands)
        self.freq_encoder.append(encoder)
        self.freq_decoder.insert(0, decoder)

    def _add_merge_layer(self, index: int, outer: tuple[int, int]) -> None:
        """Add the waveform layer whose outputs line up with spectrogram frames, and its mirror image."""
        stride = self.config.n_fft // 4 // STRIDE**index
        geometry = Strided("time", 2 * stride, stride, stride // 2)
        channels = self.config.channels * 2**index
        self.time_encoder.append(Downsample(outer[0], channels, geometry))
        self.time_decoder.insert(
            0, Upsample(channels, outer[1], geometry, self._groups(index), F.gelu if index else None)
        )

    @property
    def _padding(self) -> spectral.Padding:
        if not self.config.hybrid:
            return "centered"
        return "aligned_old" if self.config.old_padding else "aligned"

    @property
    def min_length(self) -> int:
        """Shortest excerpt worth training on, in samples: one window of the STFT."""
        return self.config.n_fft

    def source_axes(self) -> dict[str, int]:
        """See `Network.source_axes`."""
        return {
            **output_axes(self.freq_decoder, "freq_decoder"),
            **(output_axes(self.time_decoder, "time_decoder") if self.config.hybrid else {}),
        }

    def forward(self, mix: Tensor) -> Tensor:
        """Separate a mixture `[B, C, L]`, L at least 1, into `[B, S, C, L]`; ValueError for another shape."""
        self.check_mix(mix)
        length = mix.shape[-1]
        xt, mean_t, std_t = standardise(mix, (1, 2))
        xt = channels_last(self.to_inner(xt)[:, :, None])
        if self.config.spectrogram == "complex":
            x, mean, std = standardise(self.analysis(mix), (1, 2, 3))
            y, yt = self._u_net(channels_last(self.to_inner(x)), xt)
            out: Tensor = self.synthesis(y, mean, std, length)
        else:
            z = spectral.stft(mix, self.config.n_fft, self._padding)
            x, mean, std = standardise(z.abs().to(mix.device), (1, 2, 3))
            y, yt = self._u_net(channels_last(self.to_inner(x)), xt)
            estimates = self._to_complex(torch.addcmul(mean, y.to(mix.dtype), std).to(z.device), z)
            out = spectral.istft(estimates, length, self._padding).to(mix.device)
        if yt is not None:
            out = out + (yt[:, :, 0].to(mix.dtype) * std_t + mean_t)
        return rearrange(out, "b (s c) l -> b s c l", s=len(self.sources))

    def _to_complex(self, x: Tensor, mix: Tensor) -> Tensor:
        """Complex spectrograms `[B, S * C, F, T]` from estimated magnitudes or masks of the same shape."""
        x = rearrange(x, "b (s c) f t -> b s c f t", s=len(self.sources))
        if self.config.wiener_iters < 0:
            return ((mix / (1e-8 + mix.abs()))[:, None] * x).flatten(1, 2)
        return spectral.wiener(x, mix, self.config.wiener_iters).flatten(1, 2)

    def _u_net(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor | None]:
        """Run the spectrogram `[B, C, F, T]` and the waveform `[B, C, 1, L]` through both branches."""
        skips: list[Tensor] = []
        skips_t: list[Tensor] = []
        lengths: list[int] = []
        lengths_t: list[int] = []
        merge = len(self.time_encoder) - 1
        for index, encode in enumerate(self.freq_encoder):
            inject = None
            if index <= merge:
                lengths_t.append(xt.shape[-1])
                xt = self.time_encoder[index](xt)
                if index < merge:
                    skips_t.append(xt)
                else:
                    inject = xt
            lengths.append(x.shape[-1])
            x = encode(x, inject)
            if index == 0 and self.embedding is not None:
                x = self.embedding(x)
            skips.append(x)

        # The signal passes through the skip connections: the innermost layer has no other input.
        y: Tensor | None = None
        yt: Tensor | None = None
        for index, decode in enumerate(self.freq_decoder):
            y, before = decode(y, skips.pop(), lengths.pop())
            branch = index - (self.config.depth - 1 - merge)
            if branch == 0:
                yt = self.time_decoder[0](before, lengths_t.pop())
            elif branch > 0:
                yt, _ = self.time_decoder[branch](yt, skips_t.pop(), lengths_t.pop())
        assert y is not None
        return y, yt
