"""Encoder and decoder layers of both branches, their banded forms, and the frequency embedding.

Tensors are `[B, C, F, T]` (batch, channels, frequencies, time), with F = 1 for the waveform. A convolution
over time has a kernel `(1, K)`, one over frequencies `(K, 1)`, and channels-last memory suits both.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdemucs.model.norm import group_norm
from hdemucs.model.residual import COMPRESSION, INITIAL_SCALE, ResidualBranch

Activation = Callable[[Tensor], Tensor]
ResidualIn = Literal["none", "encoder", "decoder", "both"]
"""Which half of a network has residual branches."""


def channels_last(x: Tensor) -> Tensor:
    """`x` in channels-last memory."""
    return x.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Strided:
    """Geometry of a strided convolution.

    Attributes:
        axis: Axis that is convolved and strided.
        kernel: Width of the kernel along that axis.
        stride: Stride along that axis.
        padding: Padding at either end of that axis.
    """

    axis: Literal["frequency", "time"]
    kernel: int
    stride: int
    padding: int = 0

    def along(self, size: int, other: int) -> tuple[int, int]:
        """`size` for the convolved axis and `other` for the other one, in the order (frequency, time)."""
        return (size, other) if self.axis == "frequency" else (other, size)


@dataclass(frozen=True)
class Residual:
    """Contents of a layer's residual branch.

    Attributes:
        lstm: Whether it has LSTMs.
        attention: Whether it has local attention.
        compression: Number of channels of the layer for each one inside the branch.
        initial_scale: Initial factor of the branch's output.
    """

    lstm: bool
    attention: bool
    compression: int = COMPRESSION
    initial_scale: float = INITIAL_SCALE

    def build(self, channels: int) -> ResidualBranch:
        """Build the branch for a layer with the given number of channels."""
        return ResidualBranch(channels, self.lstm, self.attention, self.compression, self.initial_scale)


class Downsample(nn.Module):
    """Bare strided convolution: the last waveform layer before the branches meet.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        geometry: Geometry of the convolution.
    """

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
        """Apply the convolution; if it strides over time, `x` is first padded to a multiple of the stride."""
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
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        geometry: Geometry of the strided convolution.
        norm_groups: Number of groups in both group normalisations; None for no normalisation.
        residual: Contents of the residual branch; None for no branch.
        rewrite: Whether the layer has the 1x1 convolution with GLU.
        activation: Function applied after the strided convolution.
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
        # Without normalisation, different frequencies do not interact.
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
        y = self.activation(self.norm1(y))
        if self.residual is not None:
            y = self.residual(y)
        return y if self.rewrite is None else F.glu(self.norm2(self.rewrite(y)), 1)


class Upsample(nn.Module):
    """Transposed convolution with nothing before it: the first waveform layer after the branches part.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        geometry: Geometry of the transposed convolution.
        norm_groups: Number of groups in the normalisation of the output; None for no normalisation.
        activation: Function applied at the end; None for the outermost layer.
    """

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

    def upsample(self, y: Tensor, length: int | None) -> Tensor:
        """Transposed convolution, normalisation, cut and activation; see `forward`."""
        g = self.geometry
        if isinstance(self.norm2, nn.Identity):
            z = self.transposed(y, g.along(g.padding, 0))
        else:
            # The normalisation includes the ends that are cut off afterwards.
            axis = 3 if g.axis == "time" else 2
            z = self.norm2(self.transposed(y))
            z = z.narrow(axis, g.padding, z.shape[axis] - 2 * g.padding)
        if length is not None and g.axis == "time" and z.shape[-1] > length:
            z = z[..., :length]
        return z if self.activation is None else self.activation(z)

    def transposed(self, y: Tensor, padding: tuple[int, int] = (0, 0)) -> Tensor:
        """The transposed convolution alone; `padding` positions are cut off, along (frequency, time)."""
        return F.conv_transpose2d(y, self.conv_tr.weight, self.conv_tr.bias, self.conv_tr.stride, padding)

    @property
    def bias(self) -> Tensor:
        """Biases of the transposed convolution."""
        assert self.conv_tr.bias is not None
        return self.conv_tr.bias

    def forward(self, x: Tensor, length: int | None = None) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F', T']`; time, if upsampled, is cut to `length` positions."""
        return self.upsample(x, length)


class DecoderLayer(Upsample):
    """Convolution with GLU on the sum of input and skip, residual branch, strided transposed convolution.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        geometry: Geometry of the transposed convolution.
        norm_groups: Number of groups in the normalisation after the first convolution; None for none.
        residual: Contents of the residual branch; None for no branch.
        context: Whether the first convolution is 3 wide rather than 1, along (frequency, time).
        rewrite: Whether the layer has the first convolution with GLU.
        activation: Function applied after the transposed convolution; None for the outermost layer.
        norm2_groups: Number of groups in the normalisation after the transposed convolution; None for none.
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
        """Everything before the transposed convolution, `[B, C_in, F, T]`; arguments as in `forward`."""
        y = skip if x is None else x + skip
        if self.rewrite is not None:
            y = F.glu(self.norm1(self._rewrite(self.rewrite, y)), 1)
        return y if self.residual is None else self.residual(y)

    @staticmethod
    def _rewrite(conv: nn.Conv2d, y: Tensor) -> Tensor:
        if y.shape[2] > 1 or conv.kernel_size[0] == 1:
            out: Tensor = conv(y)
            return out
        # With a single frequency, the outer rows of the kernel see only padding: one row of three is enough.
        middle = conv.weight[:, :, conv.kernel_size[0] // 2, None]
        return F.conv2d(y, middle, conv.bias, padding=(0, conv.kernel_size[1] // 2))

    def forward(  # type: ignore[override]
        self, x: Tensor | None, skip: Tensor, length: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode one layer.

        Args:
            x: Output of the previous decoder layer, `[B, C_in, F, T]`; None for the innermost layer.
            skip: Output of the encoder layer of the same depth, same shape.
            length: Number of time positions to cut the output to if time is upsampled; None for no cut.

        Returns:
            The output `[B, C_out, F', T']`, and the input of the transposed convolution.
        """
        y = self.transform(x, skip)
        return self.upsample(y, length), y


class _Banded(nn.Module):
    """Layer over frequencies with separate weights for each band.

    Args:
        layers: One layer per band, all of the same geometry.
        ratios: Upper edges of all bands but the last, as fractions of the frequency axis.
    """

    def __init__(
        self, layers: Sequence[EncoderLayer] | Sequence[DecoderLayer], ratios: Sequence[float]
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.ratios = list(ratios)
        self.geometry = layers[0].geometry


class BandedEncoder(_Banded):
    """Encoder layer over frequencies with separate weights per band; the bands tile the axis seamlessly."""

    def __init__(self, layers: Sequence[EncoderLayer], ratios: Sequence[float]) -> None:
        super().__init__(layers, ratios)
        # The whole axis is padded once, before it is cut into bands.
        for layer in layers:
            layer.conv.padding = (0, 0)

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F / stride, T]`; takes `inject` as `EncoderLayer` does, unused."""
        g = self.geometry
        edges = [0]
        for ratio in self.ratios:
            # A band ends with the last window that fits in it, so that no window crosses its edge.
            windows = (round(x.shape[2] * ratio) + g.padding - edges[-1] * g.stride - g.kernel) / g.stride
            edges.append(edges[-1] + round(windows + 1))
        edges.append(x.shape[2] // g.stride)
        padded = F.pad(x, (0, 0, g.padding, g.padding))
        bands = [
            layer(padded[:, :, a * g.stride : (b - 1) * g.stride + g.kernel])
            for layer, a, b in zip(self.layers, edges[:-1], edges[1:], strict=True)
        ]
        return torch.cat(bands, 2)


class BandedDecoder(_Banded):
    """Decoder layer over frequencies with separate weights per band, overlap-added at the edges."""

    def __init__(self, layers: Sequence[DecoderLayer], ratios: Sequence[float]) -> None:
        super().__init__(layers, ratios)
        self.activation = layers[0].activation

    def forward(
        self, x: Tensor | None, skip: Tensor, length: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `DecoderLayer.forward`, except that the second value is None: no later layer needs it."""
        edges = [0, *(round(skip.shape[2] * ratio) for ratio in self.ratios), skip.shape[2]]
        g = self.geometry
        overlap = g.kernel - g.stride
        z: Tensor | None = None
        layers: Iterable[Any] = self.layers
        for layer, a, b in zip(layers, edges[:-1], edges[1:], strict=True):
            y = layer.transform(None if x is None else x[:, :, a:b], skip[:, :, a:b])
            band = layer.transposed(y)
            if z is not None:
                # Both bands have added their bias to the frequencies that they share.
                shared = z[:, :, -overlap:] + band[:, :, :overlap] - layer.bias[:, None, None]
                band = torch.cat([z[:, :, :-overlap], shared, band[:, :, overlap:]], 2)
            z = band
        assert z is not None
        z = z[:, :, g.padding : z.shape[2] - g.padding]
        return (z if self.activation is None else self.activation(z)), None


class FrequencyEmbedding(nn.Module):
    """Learnt vector per frequency, smooth at first, since convolutions cannot tell frequencies apart.

    From arXiv 2111.03600, section 3, after Isik et al., arXiv 2008.04470.

    Args:
        frequencies: Number of frequencies of the tensor it is added to.
        channels: Number of channels of the tensor it is added to.
        weight: Weight of the embedding in the sum.
        boost: Factor between the stored values and the embedding, by which it learns faster.
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


def output_axes(decoder: nn.ModuleList, prefix: str) -> dict[str, int]:
    """Axis of the sources in each parameter of a decoder's last layer, by the name of the parameter.

    Args:
        decoder: Decoder layers, the outermost one last; it may be banded.
        prefix: Name of the decoder in its network.
    """
    axes: dict[str, int] = {}
    last = len(decoder) - 1
    for name, layer in decoder[last].named_modules(prefix=f"{prefix}.{last}"):
        if isinstance(layer, Upsample):
            axes |= {f"{name}.conv_tr.weight": 1, f"{name}.conv_tr.bias": 0}
            axes |= {f"{name}.norm2.{parameter}": 0 for parameter, _ in layer.norm2.named_parameters()}
    return axes


def rescale(module: nn.Module, reference: float = 0.1) -> None:
    """Scale the initial weights of all convolutions towards a standard deviation of `reference`.

    From arXiv 1911.13254. Weights on torch's `meta` device are skipped, here as in the other initialisations:
    they have no values, and arithmetic on them would make torch import its compiler, which takes a second.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d) and not layer.weight.is_meta:
            with torch.no_grad():
                scale = (layer.weight.std() / reference).sqrt()
                layer.weight /= scale
                if layer.bias is not None:
                    layer.bias /= scale
