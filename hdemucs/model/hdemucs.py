"""Hybrid Demucs: a U-Net with a spectrogram and a waveform branch (arXiv 2111.03600, sections 3 and 4).

Letters in shapes: B batch, S sources, C channels, F frequencies, T frames or steps, L samples.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hdemucs.model import spectrogram as spectral
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
    check_choice,
    check_mix,
    check_sources,
    rescale,
)
from hdemucs.model.norm import standardise

KERNEL = 8
STRIDE = 4
INNER_STRIDE = 2
"""Stride over time of the layers that both branches share."""
BANDED_LAYERS = 2
"""Outermost layers that have weights per band, if any do."""


class HDemucs(nn.Module):
    """Hybrid Demucs. The defaults are the published model: 48 channels, 6 layers, 83.6 M parameters.

    Args:
        sources: names of what comes out, in order.
        audio_channels: of the mixture and of each source.
        channels: after the first layer; doubled by each further one.
        depth: layers of the encoder: over frequencies until one is left, then over time.
        n_fft: window of the STFT in samples; its hop is a quarter of it.
        hybrid: with the waveform branch; without it, the spectrogram model of the paper's comparison.
        spectrogram: `complex` has real and imaginary parts as channels in and out; `amplitude` estimates
            magnitudes, which the mixture's phase turns into signals.
        wiener_iters: for amplitudes: refinements by Wiener filtering; -1 masks the mixture instead, which
            leaves silent bins silent.
        old_padding: pad and align the STFT as some models of the MDX challenge were trained with.
        bands: edges, as fractions of the frequencies, between bands with weights of their own in the two
            outermost layers; empty for the same weights everywhere.
        freq_emb: weight of the frequency embedding after the first layer, 0 without.
        norm_starts: first layer with group normalisation.
        norm_groups: of the group normalisation.
        residual: which half has residual branches; the published models have them in the encoder.
        lstm_starts, attention_starts: first layer whose residual branches have them.
        sample_rate: in Hz, of the audio that it was trained on.
        segment: seconds of audio that it is best applied to at once.

    Raises:
        ValueError: settings that make no network.
    """

    def __init__(
        self,
        sources: Sequence[str],
        audio_channels: int = 2,
        channels: int = 48,
        depth: int = 6,
        n_fft: int = 4096,
        hybrid: bool = True,
        spectrogram: Literal["complex", "amplitude"] = "complex",
        wiener_iters: int = 0,
        old_padding: bool = False,
        bands: Sequence[float] = (),
        freq_emb: float = 0.2,
        norm_starts: int = 4,
        norm_groups: int = 4,
        residual: ResidualIn = "encoder",
        lstm_starts: int = 4,
        attention_starts: int = 4,
        sample_rate: int = 44100,
        segment: float = 40,
    ) -> None:
        super().__init__()
        self.sources = list(sources)
        self.audio_channels = audio_channels
        self.channels = channels
        self.depth = depth
        self.n_fft = n_fft
        self.hybrid = hybrid
        self.spectrogram = spectrogram
        self.wiener_iters = wiener_iters
        self.old_padding = old_padding
        self.bands = list(bands)
        self.freq_emb = freq_emb
        self.norm_starts = norm_starts
        self.norm_groups = norm_groups
        self.residual = residual
        self.lstm_starts = lstm_starts
        self.attention_starts = attention_starts
        self.sample_rate = sample_rate
        self.segment = segment
        self._check()

        self.freq_encoder = nn.ModuleList()
        self.freq_decoder = nn.ModuleList()
        self.time_encoder = nn.ModuleList()
        self.time_decoder = nn.ModuleList()
        self._build()
        rescale(self)

    def _check(self) -> None:
        check_sources(self.sources)
        check_choice("spectrogram", self.spectrogram, Literal["complex", "amplitude"])
        check_choice("residual", self.residual, ResidualIn)
        if self.n_fft < 32 or self.n_fft & (self.n_fft - 1):
            raise ValueError(f"n_fft must be a power of two from 32 on, not {self.n_fft}")
        if self.spectrogram == "amplitude" and self.wiener_iters > 0 and self.audio_channels > 2:
            raise ValueError("Wiener filtering takes one or two audio channels")
        if self.old_padding and not self.hybrid:
            raise ValueError("old_padding needs hybrid")
        if sorted(self.bands) != self.bands or any(not 0 < edge < 1 for edge in self.bands):
            raise ValueError(f"bands must be increasing fractions between 0 and 1, not {self.bands}")
        if self.bands and self.norm_starts < 2:
            raise ValueError("bands need their layers, the first two, without normalisation")

    def _geometries(self) -> list[Strided]:
        """Of the spectrogram branch: stride 4 over frequencies down to one of them, then 2 over time."""
        frequencies = self.n_fft // 2
        geometries: list[Strided] = []
        for _ in range(self.depth):
            if frequencies > KERNEL:
                geometries.append(Strided("frequency", KERNEL, STRIDE, KERNEL // 4))
                frequencies //= STRIDE
            elif frequencies > 1:
                geometries.append(Strided("frequency", frequencies, STRIDE))
                frequencies = 1
            else:
                geometries.append(Strided("time", 2 * INNER_STRIDE, INNER_STRIDE, INNER_STRIDE // 2))
        if self.hybrid and frequencies > 1:
            raise ValueError(
                f"depth {self.depth} is too small for the branches to meet at n_fft {self.n_fft}"
            )
        return geometries

    def _build(self) -> None:
        geometries = self._geometries()
        merge = sum(g.axis == "frequency" for g in geometries) - 1
        parts = 2 if self.spectrogram == "complex" else 1
        mix, out = self.audio_channels, self.audio_channels * len(self.sources)
        for index, geometry in enumerate(geometries):
            outer = (self.channels * 2 ** (index - 1),) * 2 if index else (mix, out)
            outer_z = outer if index else (parts * mix, parts * out)
            self._add_frequency_layer(index, outer_z, geometry)
            if self.hybrid and index < merge:
                geometry = Strided("time", KERNEL, STRIDE, KERNEL // 4)
                encoder, decoder = self._pair(index, outer, geometry, context=(False, True))
                self.time_encoder.append(encoder)
                self.time_decoder.insert(0, decoder)
            elif self.hybrid and index == merge:
                self._add_merge_layer(index, outer)
        self.embedding: FrequencyEmbedding | None = None
        if self.freq_emb:
            frequencies = self.n_fft // 2 // geometries[0].stride
            self.embedding = FrequencyEmbedding(frequencies, self.channels, self.freq_emb)

    def _groups(self, index: int) -> int | None:
        return self.norm_groups if index >= self.norm_starts else None

    def _pair(
        self, index: int, outer: tuple[int, int], geometry: Strided, context: tuple[bool, bool]
    ) -> tuple[EncoderLayer, DecoderLayer]:
        """Encoder layer `index` and the decoder layer that undoes it; `outer` channels in and out."""
        channels = self.channels * 2**index
        groups = self._groups(index)
        branch = Residual(index >= self.lstm_starts, index >= self.attention_starts)
        encoder = EncoderLayer(
            outer[0], channels, geometry, groups, branch if self.residual in ("encoder", "both") else None
        )
        decoder = DecoderLayer(
            channels,
            outer[1],
            geometry,
            groups,
            branch if self.residual in ("decoder", "both") else None,
            context,
            activation=F.gelu if index else None,
            norm2_groups=groups,
        )
        return encoder, decoder

    def _add_frequency_layer(self, index: int, outer: tuple[int, int], geometry: Strided) -> None:
        bands = self.bands if index < BANDED_LAYERS else []
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
        """The waveform layer after which its steps are the spectrogram's frames, and back."""
        stride = self.n_fft // 4 // STRIDE**index
        geometry = Strided("time", 2 * stride, stride, stride // 2)
        channels = self.channels * 2**index
        self.time_encoder.append(Downsample(outer[0], channels, geometry))
        self.time_decoder.insert(
            0, Upsample(channels, outer[1], geometry, self._groups(index), F.gelu if index else None)
        )

    def valid_length(self, length: int) -> int:
        """Samples to feed for `length` to come out best: any length will do."""
        return length

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
        padding: spectral.Padding = "centered"
        if self.hybrid:
            padding = "aligned_old" if self.old_padding else "aligned"
        z = spectral.stft(mix, self.n_fft, padding)
        x, mean, std = standardise(self._to_channels(z), (1, 2, 3))
        xt, mean_t, std_t = standardise(mix, (1, 2))
        y, yt = self._u_net(
            x.contiguous(memory_format=torch.channels_last),
            xt[:, :, None].contiguous(memory_format=torch.channels_last),
        )
        estimates = self._to_complex(torch.addcmul(mean, y.to(mix.dtype), std), z)
        out = spectral.istft(estimates, mix.shape[-1], padding)
        if yt is not None:
            out = out + (yt[:, :, 0].to(mix.dtype) * std_t + mean_t)
        return rearrange(out, "b (s c) l -> b s c l", s=len(self.sources))

    def _to_channels(self, z: Tensor) -> Tensor:
        if self.spectrogram == "amplitude":
            return z.abs()
        return rearrange(torch.view_as_real(z), "b c f t part -> b (c part) f t")

    def _to_complex(self, x: Tensor, mix: Tensor) -> Tensor:
        """What the network put out, `[B, S * C * parts, F, T]`, as spectrograms `[B, S * C, F, T]`."""
        if self.spectrogram == "complex":
            # In channels-last memory both parts of a number are side by side already.
            parts = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).unflatten(-1, (-1, 2))
            return torch.view_as_complex(parts).permute(0, 3, 1, 2)
        x = rearrange(x, "b (s c) f t -> b s c f t", s=len(self.sources))
        if self.wiener_iters < 0:
            return ((mix / (1e-8 + mix.abs()))[:, None] * x).flatten(1, 2)
        return spectral.wiener(x, mix, self.wiener_iters).flatten(1, 2)

    def _u_net(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor | None]:
        """Spectrogram `[B, C, F, T]` and waveform `[B, C, 1, L]` through both branches."""
        skips: list[Tensor] = []
        skips_t: list[Tensor] = []
        steps: list[int] = []
        steps_t: list[int] = []
        merge = len(self.time_encoder) - 1
        for index, encode in enumerate(self.freq_encoder):
            inject = None
            if index <= merge:
                steps_t.append(xt.shape[-1])
                xt = self.time_encoder[index](xt)
                if index < merge:
                    skips_t.append(xt)
                else:
                    inject = xt
            steps.append(x.shape[-1])
            x = encode(x, inject)
            if index == 0 and self.embedding is not None:
                x = self.embedding(x)
            skips.append(x)

        # The signal goes through the skip connections: the innermost layer has no other input.
        y: Tensor | None = None
        yt: Tensor | None = None
        for index, decode in enumerate(self.freq_decoder):
            y, before = decode(y, skips.pop(), steps.pop())
            branch = index - (self.depth - 1 - merge)
            if branch == 0:
                yt = self.time_decoder[0](before, steps_t.pop())
            elif branch > 0:
                yt, _ = self.time_decoder[branch](yt, skips_t.pop(), steps_t.pop())
        assert y is not None
        return y, yt
