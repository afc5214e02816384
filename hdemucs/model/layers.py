"""Encoder and decoder layers of both branches, per-band versions of them, and the frequency embedding.

Everything is `[B, C, F, T]`, the waveform with F = 1: a convolution over time has a kernel `(1, K)`, one
over frequencies `(K, 1)`, and channels-last memory serves both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hdemucs.model.norm import group_norm
from hdemucs.model.residual import ResidualBranch

FEW_VALUES = 1 << 19
"""Values to work on at a time where rows are independent: 2 MB in float32, a core's cache."""

Activation = Callable[[Tensor], Tensor]
ResidualIn = Literal["none", "encoder", "decoder", "both"]


@dataclass(frozen=True)
class Strided:
    """Geometry of a strided convolution: which axis, kernel, stride, and padding on both sides."""

    axis: Literal["frequency", "time"]
    kernel: int
    stride: int
    padding: int = 0

    def along(self, size: int, other: int) -> tuple[int, int]:
        """`size` on the convolved axis and `other` on the other one, in the order (frequency, time)."""
        return (size, other) if self.axis == "frequency" else (other, size)


@dataclass(frozen=True)
class Residual:
    """What a layer's residual branch contains."""

    lstm: bool
    attention: bool

    def build(self, channels: int) -> ResidualBranch:
        return ResidualBranch(channels, self.lstm, self.attention)


class Downsample(nn.Module):
    """The strided convolution alone: the last waveform layer before the branches meet."""

    def __init__(self, in_channels: int, out_channels: int, geometry: Strided) -> None:
        super().__init__()
        self.geometry = geometry
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            geometry.along(geometry.kernel, 1),
            geometry.along(geometry.stride, 1),
            geometry.along(geometry.padding, 0),
        )

    def downsample(self, x: Tensor) -> Tensor:
        if self.geometry.axis == "time":
            x = F.pad(x, (0, -x.shape[-1] % self.geometry.stride))
        y: Tensor = self.conv(x)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F, ceil(T / stride)]`."""
        return self.downsample(x)


class EncoderLayer(Downsample):
    """Strided convolution, activation, residual branch, 1x1 convolution with GLU.

    Args:
        in_channels, out_channels: channels.
        geometry: of the strided convolution.
        norm_groups: groups of the normalisations, None without.
        residual: contents of the residual branch, None without.
        rewrite: whether the 1x1 convolution is there.
        activation: after the strided convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry: Strided,
        norm_groups: int | None,
        residual: Residual | None,
        rewrite: bool = True,
        activation: Activation = F.gelu,
    ) -> None:
        super().__init__(in_channels, out_channels, geometry)
        self.activation = activation
        self.mixes_rows = norm_groups is not None
        self.norm1 = group_norm(norm_groups, out_channels)
        self.residual = residual.build(out_channels) if residual else None
        self.rewrite = nn.Conv2d(out_channels, 2 * out_channels, 1) if rewrite else None
        self.norm2 = group_norm(norm_groups if rewrite else None, 2 * out_channels)

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F', T']`; `inject` is added after the strided convolution."""
        y = self.downsample(x)
        if inject is not None:
            y = y + inject
        if self.mixes_rows or y.device.type != "cpu" or torch.is_grad_enabled():
            return self.transform(y)
        # Without normalisation no row sees another one: a few at a time need less memory, at the same speed.
        rows = max(1, FEW_VALUES // (y.shape[1] * y.shape[3]))
        return torch.cat([self.transform(part) for part in y.split(rows, 2)], 2)

    def transform(self, y: Tensor) -> Tensor:
        y = self.activation(self.norm1(y))
        if self.residual is not None:
            y = self.residual(y)
        return y if self.rewrite is None else F.glu(self.norm2(self.rewrite(y)), 1)


class Upsample(nn.Module):
    """The strided transposed convolution alone: the first waveform layer after the branches part."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry: Strided,
        norm_groups: int | None,
        activation: Activation | None = F.gelu,
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.activation = activation
        self.conv_tr = nn.ConvTranspose2d(
            in_channels, out_channels, geometry.along(geometry.kernel, 1), geometry.along(geometry.stride, 1)
        )
        self.norm2 = group_norm(norm_groups, out_channels)

    def transposed(self, y: Tensor, padding: int = 0) -> Tensor:
        """`conv_tr(y)` without `padding` steps at either end of its axis."""
        if torch.is_grad_enabled():
            conv, along = self.conv_tr, self.geometry.along
            stride = along(self.geometry.stride, 1)
            return F.conv_transpose2d(y, conv.weight, conv.bias, stride, along(padding, 0))
        return self.without_ends(self._by_taps(y), padding)

    def without_ends(self, z: Tensor, padding: int) -> Tensor:
        """All but `padding` steps at either end of the axis."""
        axis = 3 if self.geometry.axis == "time" else 2
        return z.narrow(axis, padding, z.shape[axis] - 2 * padding)

    def _by_taps(self, y: Tensor) -> Tensor:
        """`conv_tr(y)` as a convolution of one or two taps to all offsets within a stride at once, which are
        then put side by side: faster than the transposed convolution of oneDNN, but for its gradient."""
        stride = self.geometry.stride
        weight = rearrange(self.conv_tr.weight.flatten(2), "i o (tap r) -> (r o) i tap", r=stride).flip(-1)
        assert self.conv_tr.bias is not None
        bias = self.conv_tr.bias.repeat(stride)
        padding = self.geometry.along(weight.shape[-1] - 1, 0)
        if self.geometry.axis == "time":
            z = F.conv2d(y, weight.unsqueeze(2), bias, padding=padding)
            return rearrange(z, "b (r o) f t -> b o f (t r)", r=stride)
        z = F.conv2d(y, weight.unsqueeze(3), bias, padding=padding)
        z = rearrange(z.permute(0, 2, 3, 1), "b f t (r o) -> b (f r) t o", r=stride)
        return z.permute(0, 3, 1, 2)

    def upsample(self, y: Tensor, length: int | None) -> Tensor:
        pad = self.geometry.padding
        if isinstance(self.norm2, nn.Identity):
            z = self.transposed(y, pad)
        else:
            # What is cut off counts in the normalisation.
            z = self.without_ends(self.norm2(self.transposed(y)), pad)
        if length is not None and self.geometry.axis == "time" and z.shape[-1] > length:
            z = z[..., :length]
        return z if self.activation is None else self.activation(z)

    def forward(self, x: Tensor, length: int | None = None) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F', T']`, cut to `length` steps where time is upsampled."""
        return self.upsample(x, length)


class DecoderLayer(Upsample):
    """Convolution with GLU over skip connection and input, residual branch, strided transposed convolution.

    Args:
        in_channels, out_channels: channels.
        geometry: of the transposed convolution.
        norm_groups: groups of the normalisation after the first convolution, None without.
        residual: contents of the residual branch, None without.
        context: whether the first convolution is 3 wide along (frequency, time), or 1.
        rewrite: whether the first convolution is there.
        activation: after the transposed convolution, None in the outermost layer.
        norm2_groups: groups of the normalisation after the transposed convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry: Strided,
        norm_groups: int | None,
        residual: Residual | None,
        context: tuple[bool, bool],
        rewrite: bool = True,
        activation: Activation | None = F.gelu,
        norm2_groups: int | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, geometry, norm2_groups, activation)
        kernel = (1 + 2 * context[0], 1 + 2 * context[1])
        self.rewrite = (
            nn.Conv2d(in_channels, 2 * in_channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
            if rewrite
            else None
        )
        self.norm1 = group_norm(norm_groups if rewrite else None, 2 * in_channels)
        self.residual = residual.build(in_channels) if residual else None

    def transform(self, x: Tensor | None, skip: Tensor) -> Tensor:
        y = skip if x is None else x + skip
        if self.rewrite is not None:
            y = F.glu(self.norm1(self._rewrite(self.rewrite, y)), 1)
        return y if self.residual is None else self.residual(y)

    @staticmethod
    def _rewrite(conv: nn.Conv2d, y: Tensor) -> Tensor:
        if y.shape[2] > 1 or conv.kernel_size[0] == 1:
            out: Tensor = conv(y)
            return out
        # Of a lone frequency the kernel's outer rows see padding only: a third of the work is enough.
        middle = conv.weight[:, :, conv.kernel_size[0] // 2, None]
        return F.conv2d(y, middle, conv.bias, padding=(0, conv.kernel_size[1] // 2))

    def forward(  # type: ignore[override]
        self, x: Tensor | None, skip: Tensor, length: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Next `[B, C_out, F', T']`, and what it was before the transposed convolution.

        Args:
            x: `[B, C_in, F, T]` from the layer below, None in the innermost one.
            skip: as x, from the encoder.
            length: steps to cut to where time is upsampled.
        """
        y = self.transform(x, skip)
        return self.upsample(y, length), y


class BandedEncoder(nn.Module):
    """An encoder layer over frequencies with separate weights per band, which tile the axis without seams.

    Args:
        layers: one a band, all alike.
        ratios: upper edges of all bands but the last, as fractions of the frequencies.
    """

    def __init__(self, layers: Sequence[EncoderLayer], ratios: Sequence[float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.ratios = list(ratios)
        self.geometry = layers[0].geometry
        for layer in layers:
            layer.conv.padding = (0, 0)

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F / stride, T]`."""
        g = self.geometry
        edges = [0]
        for ratio in self.ratios:
            # The band ends where its last window does, so that no window looks over the edge.
            windows = (round(x.shape[2] * ratio) + g.padding - edges[-1] * g.stride - g.kernel) / g.stride
            edges.append(edges[-1] + round(windows + 1))
        edges.append(x.shape[2] // g.stride)
        padded = F.pad(x, (0, 0, g.padding, g.padding))
        bands = [
            layer(padded[:, :, a * g.stride : (b - 1) * g.stride + g.kernel])
            for layer, a, b in zip(self.layers, edges[:-1], edges[1:], strict=True)
        ]
        return torch.cat(bands, 2)


class BandedDecoder(nn.Module):
    """A decoder layer over frequencies with separate weights per band, overlap-added at the edges.

    Args:
        layers: one a band, all alike.
        ratios: upper edges of all bands but the last, as fractions of the frequencies.
    """

    def __init__(self, layers: Sequence[DecoderLayer], ratios: Sequence[float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.ratios = list(ratios)
        self.geometry = layers[0].geometry
        self.activation = layers[0].activation

    def forward(
        self, x: Tensor | None, skip: Tensor, length: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """See `DecoderLayer.forward`; nothing follows that needs the second value."""
        edges = [0, *(round(skip.shape[2] * ratio) for ratio in self.ratios), skip.shape[2]]
        g = self.geometry
        overlap = g.kernel - g.stride
        z: Tensor | None = None
        for layer, a, b in zip(self.layers, edges[:-1], edges[1:], strict=True):
            assert isinstance(layer, DecoderLayer)
            assert layer.conv_tr.bias is not None
            y = layer.transform(None if x is None else x[:, :, a:b], skip[:, :, a:b])
            band = layer.transposed(y)
            if z is not None:
                # Both bands have added their bias to the rows that they share.
                shared = z[:, :, -overlap:] + band[:, :, :overlap] - layer.conv_tr.bias[:, None, None]
                band = torch.cat([z[:, :, :-overlap], shared, band[:, :, overlap:]], 2)
            z = band
        assert z is not None
        z = z[:, :, g.padding : z.shape[2] - g.padding]
        return (z if self.activation is None else self.activation(z)), None


class FrequencyEmbedding(nn.Module):
    """A learnt vector per frequency, smooth at first, since convolutions cannot tell frequencies apart
    (arXiv 2111.03600, section 3; Isik et al., arXiv 2008.04470).

    Args:
        frequencies, channels: shape of what it is added to.
        weight: of the embedding in the sum.
        boost: factor of its learning rate.
    """

    def __init__(self, frequencies: int, channels: int, weight: float, boost: float = 10.0) -> None:
        super().__init__()
        self.factor = weight * boost
        vectors = torch.empty(frequencies, channels)
        if not vectors.is_meta:
            walk = vectors.normal_().cumsum(0) / torch.arange(1, frequencies + 1).sqrt()[:, None]
            vectors = walk / boost
        self.embedding = nn.Embedding.from_pretrained(vectors, freeze=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add the embedding to `[B, channels, frequencies, T]`."""
        return x + self.factor * self.embedding.weight.t()[:, :, None]


def check_sources(sources: Sequence[str]) -> None:
    """Raise ValueError unless there are sources, all of different names."""
    if not sources or len(set(sources)) < len(sources):
        raise ValueError(f"sources must be different names, not {sources}")


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise ValueError unless `value` is one of the strings of the Literal type `choices`."""
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, not {value!r}")


def check_mix(mix: Tensor, channels: int) -> None:
    """Raise ValueError unless `mix` is `[B, channels, L]` with L at least 1."""
    if mix.dim() != 3 or mix.shape[1] != channels or mix.shape[-1] < 1:
        raise ValueError(f"a mixture must be [batch, {channels}, samples], not {list(mix.shape)}")


def rescale(module: nn.Module, reference: float = 0.1) -> None:
    """Bring the initial weights of all convolutions nearer to a deviation of `reference`
    (arXiv 1911.13254).

    Weights on torch's device `meta` are left out, here as in the other initialisations: they have no values,
    and arithmetic on them would make torch import its compiler, which takes a second.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d) and not layer.weight.is_meta:
            with torch.no_grad():
                scale = (layer.weight.std() / reference).sqrt()
                layer.weight /= scale
                if layer.bias is not None:
                    layer.bias /= scale
