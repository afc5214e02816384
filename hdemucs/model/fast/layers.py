"""Encoder and decoder layers that go through frequencies a few at a time, while these are in the cache.

Tensors are as in `hdemucs.model.layers`: `[B, C, F, T]`, channels last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdemucs.model.fast.convolution import (
    FUNCTIONS,
    Activation,
    Convolution,
    GatedConvolution,
    pieces,
    ranges,
)
from hdemucs.model.fast.residual import FastResidualBranch
from hdemucs.model.layers import (
    BandedDecoder,
    DecoderLayer,
    Downsample,
    EncoderLayer,
    FrequencyEmbedding,
    Upsample,
    channels_last,
)

POSITIONS = 16
"""Number of time positions to add an embedding to at once: torch is slow to repeat a few channels."""

_NAMES: dict[object, Activation] = {None: "none", F.gelu: "gelu", F.relu: "relu"}


class FastDownsample(nn.Module):
    """Fast form of `Downsample`."""

    def __init__(self, layer: Downsample, dtype: torch.dtype) -> None:
        super().__init__()
        self.geometry = layer.geometry
        self.conv = Convolution.of(layer.conv, dtype)

    def downsample(self, x: Tensor, activation: Activation = "none") -> Tensor:
        """Convolve, after padding the time to a multiple of the stride if it is strided."""
        missing = -x.shape[-1] % self.geometry.stride
        if self.geometry.axis == "time" and missing:
            x = F.pad(x, (0, missing))
        return self.conv(channels_last(x.to(self.conv.dtype)), activation)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F, ceil(T / stride)]`."""
        return self.downsample(x)


class FastEncoder(FastDownsample):
    """Fast form of `EncoderLayer`."""

    def __init__(self, layer: EncoderLayer, dtype: torch.dtype) -> None:
        super().__init__(layer, dtype)
        self._activation = _NAMES[layer.activation]
        self._norm1, self._norm2 = layer.norm1, layer.norm2
        self._in_strips = not layer.mixes_rows and layer.geometry.axis == "frequency"
        self._residual = None if layer.residual is None else FastResidualBranch(layer.residual, dtype)
        self._rewrite = None if layer.rewrite is None else _Rewrite(layer.rewrite, layer.norm2, dtype)

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F', T']`; `inject` is added after the strided convolution."""
        if self._in_strips and inject is None:
            return self._by_strips(channels_last(x.to(self.conv.dtype)))
        if inject is None and isinstance(self._norm1, nn.Identity):
            return self._transform(self.downsample(x, self._activation))
        y = self.downsample(x)
        if inject is not None:
            y += inject
        return self._transform(channels_last(FUNCTIONS[self._activation](self._norm1(y))))

    def _transform(self, y: Tensor) -> Tensor:
        if self._residual is not None:
            y = self._residual(y)
        return y if self._rewrite is None else self._rewrite(y)

    def _by_strips(self, x: Tensor) -> Tensor:
        b, _, f, t = x.shape
        g, padding = self.geometry, self.conv.padding[0]
        rows = (f + 2 * padding - g.kernel) // g.stride + 1
        out = x.new_empty(b, rows, t, self.conv.channels).permute(0, 3, 1, 2)
        for start, end in ranges(rows, b * self.conv.channels * t):
            first = start * g.stride - padding
            strip = _span(x, 2, first, first + (end - start - 1) * g.stride + g.kernel)
            out[:, :, start:end] = self._transform(self.conv(strip, self._activation, (0, 0)))
        return out


class FastUpsample(nn.Module):
    """Fast form of `Upsample`.

    One convolution of one or two taps computes all offsets within a stride, which are then interleaved. This
    is faster than oneDNN's transposed convolution, and takes an activation.
    """

    def __init__(self, layer: Upsample, dtype: torch.dtype) -> None:
        super().__init__()
        self.geometry = layer.geometry
        self.dtype = dtype
        self._activation = _NAMES[layer.activation]
        self._norm2 = layer.norm2
        conv = layer.conv_tr
        assert conv.bias is not None
        self.bias = conv.bias.to(dtype)
        self._axis = 2 if self.geometry.axis == "frequency" else 3
        inputs, outputs = conv.weight.shape[:2]
        self._stride = conv.stride[self._axis - 2]
        # [inputs, outputs, taps, offsets] to [offsets * outputs, inputs, taps], the last tap first.
        weight = conv.weight.reshape(inputs, outputs, -1, self._stride).permute(3, 1, 0, 2).flip(-1)
        self._overhang = weight.shape[-1] - 1
        self._taps = Convolution(
            weight.flatten(0, 1).unsqueeze(5 - self._axis), conv.bias.repeat(self._stride), dtype
        )

    def upsample(self, y: Tensor, length: int | None) -> Tensor:
        """Transposed convolution, normalisation, cut and activation; see `forward`."""
        g = self.geometry
        normalised = not isinstance(self._norm2, nn.Identity)
        z = self.transposed(y, "none" if normalised else self._activation)
        z = self._norm2(z) if normalised else z
        z = z.narrow(self._axis, g.padding, z.shape[self._axis] - 2 * g.padding)
        if length is not None and g.axis == "time" and z.shape[-1] > length:
            z = z[..., :length]
        return FUNCTIONS[self._activation](z) if normalised else z

    def transposed(self, y: Tensor, activation: Activation = "none") -> Tensor:
        """The transposed convolution alone, without a cut."""
        padding = (0, self._overhang) if self._axis == 3 else (self._overhang, 0)
        z = self._offsets(y, padding, activation)
        return (z.flatten(1, 2) if self._axis == 2 else z.flatten(2, 3)).permute(0, 3, 1, 2)

    def _offsets(self, y: Tensor, padding: tuple[int, int], activation: Activation) -> Tensor:
        """`[B, F', stride, T, C_out]` if frequencies are upsampled, else `[B, F, T', stride, C_out]`."""
        z = self._taps(y, activation, padding).permute(0, 2, 3, 1).unflatten(3, (self._stride, -1))
        return z.transpose(2, 3) if self._axis == 2 else z

    def forward(self, x: Tensor, length: int | None = None) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F', T']`; time, if upsampled, is cut to `length` positions."""
        return self.upsample(channels_last(x.to(self.dtype)), length)


class FastDecoder(FastUpsample):
    """Fast form of `DecoderLayer`."""

    def __init__(self, layer: DecoderLayer, dtype: torch.dtype) -> None:
        super().__init__(layer, dtype)
        # Residual branches normalise over time.
        self._in_strips = isinstance(layer.norm1, nn.Identity) and isinstance(layer.norm2, nn.Identity)
        self._in_strips &= self._axis == 2 or layer.residual is None
        self._rewrite = None if layer.rewrite is None else _Rewrite(layer.rewrite, layer.norm1, dtype)
        self._residual = None if layer.residual is None else FastResidualBranch(layer.residual, dtype)

    def forward(  # type: ignore[override]
        self, x: Tensor | None, skip: Tensor, length: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `DecoderLayer.forward`; the second value is None where no later layer needs it."""
        if self._in_strips and skip.shape[self._axis] > 1:
            z = self._by_strips(x, skip)
            return z if length is None or self._axis == 2 else z[..., :length], None
        y = self.transform(x, skip)
        return self.upsample(y, length), y

    def transform(self, x: Tensor | None, skip: Tensor) -> Tensor:
        """Everything before the transposed convolution, `[B, C_in, F, T]`; arguments as in `forward`."""
        y = channels_last(skip.to(self.dtype, copy=True) if x is None else x + skip)
        y = y if self._rewrite is None else self._rewrite(y)
        return y if self._residual is None else self._residual(y)

    def _by_strips(self, x: Tensor | None, skip: Tensor) -> Tensor:
        axis, overhang = self._axis, self._overhang
        b, c, f, t = skip.shape
        size = skip.shape[axis]
        halo = 0 if self._rewrite is None else self._rewrite.padding[axis - 2]
        shape = (f + overhang, self._stride, t) if axis == 2 else (f, t + overhang, self._stride)
        out = skip.new_empty(b, *shape, len(self.bias), dtype=self.dtype)
        # The last positions of a strip are the first ones of the next, and beyond the ends there are zeros.
        before: Tensor | None = None
        for start, end in ranges(size, skip.numel() // size):
            y = _span(skip, axis, start - halo, end + halo)
            if x is not None:
                y = y + _span(x, axis, start - halo, end + halo)
            count = end - start
            length = overhang + count + (overhang if end == size else 0)
            lengths = (length, t) if axis == 2 else (f, length)
            extended = skip.new_zeros(b, *lengths, c, dtype=self.dtype).permute(0, 3, 1, 2)
            if before is not None:
                extended.narrow(axis, 0, overhang).copy_(before)
            strip = extended.narrow(axis, overhang, count)
            self._fill(strip, y)
            before = strip.narrow(axis, count - overhang, overhang)
            z = self._offsets(extended, (0, 0), self._activation)
            out.narrow(axis - 1, start, z.shape[axis - 1]).copy_(z)
        z = out.flatten(axis - 1, axis).permute(0, 3, 1, 2)
        cut = self.geometry.padding
        return z.narrow(axis, cut, z.shape[axis] - 2 * cut)

    def _fill(self, strip: Tensor, y: Tensor) -> None:
        """Write to a strip what is transformed from the sum of input and skip there."""
        if self._rewrite is None:
            strip.copy_(y)
        else:
            padding = self._rewrite.padding
            inner = (0, padding[1]) if self._axis == 2 else (padding[0], 0)
            self._rewrite(channels_last(y.to(self.dtype)), inner, strip)
        if self._residual is not None:
            self._residual(strip)


class FastBandedDecoder(BandedDecoder):
    """Fast form of `BandedDecoder`."""

    def __init__(self, layer: BandedDecoder, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.layers = nn.ModuleList(
            FastDecoder(band, dtype) for band in layer.layers if isinstance(band, DecoderLayer)
        )
        self.ratios, self.geometry, self.activation = layer.ratios, layer.geometry, layer.activation


class FastFrequencyEmbedding(nn.Module):
    """Fast form of `FrequencyEmbedding`, which adds to its input in place."""

    def __init__(self, layer: FrequencyEmbedding, dtype: torch.dtype) -> None:
        super().__init__()
        vectors = layer.factor * layer.embedding.weight
        self._vectors = vectors.repeat(1, POSITIONS).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Add the embedding to `[B, channels, frequencies, T]`."""
        y = x.permute(0, 2, 3, 1)
        t, channels = y.shape[2:]
        whole = t - t % POSITIONS
        y[:, :, :whole].unflatten(2, (-1, POSITIONS)).flatten(3).add_(self._vectors[:, None])
        y[:, :, whole:].flatten(2).add_(self._vectors[:, : (t - whole) * channels])
        return x


class _Rewrite:
    """Convolution, normalisation if there is one, and GLU."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module, dtype: torch.dtype) -> None:
        assert conv.bias is not None
        assert isinstance(conv.padding, tuple)
        self.padding = conv.padding
        self._norm = norm
        self._gated = GatedConvolution(conv.weight, conv.bias, dtype, conv.padding)
        # With a single frequency, the outer rows of the kernel see only padding.
        middle = conv.weight[:, :, conv.kernel_size[0] // 2, None]
        padding = (0, conv.padding[1])
        self._gated_row = GatedConvolution(middle, conv.bias, dtype, padding)
        self._whole = Convolution.of(conv, dtype)
        self._whole_row = Convolution(middle, conv.bias, dtype, padding=padding)

    def __call__(
        self, y: Tensor, padding: tuple[int, ...] | None = None, out: Tensor | None = None
    ) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F, T]`.

        Args:
            y: Input.
            padding: Padding in place of that of the convolution.
            out: Where to write the output, if `padding` is given.
        """
        single = y.shape[2] == 1 and padding is None
        if not isinstance(self._norm, nn.Identity):
            z = (self._whole_row if single else self._whole)(y)
            return channels_last(F.glu(self._norm(z), 1))
        gated = self._gated_row if single else self._gated
        if gated.padding[1] or padding is not None:
            return gated(y, padding, out)
        out = y.new_empty(len(y), *y.shape[2:], y.shape[1]).permute(0, 3, 1, 2)
        for y_piece, out_piece in pieces(y, out):
            gated(y_piece, out=out_piece)
        return out


def _span(x: Tensor, axis: int, start: int, end: int) -> Tensor:
    """Positions from `start` to before `end` along an axis; those that do not exist are zeros."""
    size = x.shape[axis]
    first, last = max(start, 0), min(end, size)
    inside = x.narrow(axis, first, last - first)
    if first == start and last == end:
        return inside
    missing = (first - start, end - last)
    return F.pad(inside, (0, 0, *missing) if axis == 2 else missing)
