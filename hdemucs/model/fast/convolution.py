"""Convolutions with weights laid out once, and with activations computed where their outputs are written.

Letters in shapes: B batch, C channels, F frequencies, T time positions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CACHE_VALUES = 1 << 19
"""Number of values to process at a time where positions are independent: 2 MB in float32."""

LARGE_WEIGHT = 1 << 17
"""Number of weights beyond which one layout is kept at a time, and not several."""

LONG = 512
"""Number of positions beyond which laying out a large weight in float32 again takes less than 5% of a pass
over it: too little for a second copy of the model in memory."""

Activation = Literal["none", "gelu", "relu", "sigmoid"]

FUNCTIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "gelu": F.gelu,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
}


class Convolution:
    """2-D convolution of channels-last tensors on a CPU.

    oneDNN lays weights out for its kernels at every call, which takes 7% of a pass over 10 s, unless they are
    laid out beforehand. An activation costs nothing while the output is still in registers.

    Args:
        weight: Weights `[C_out, C_in, K_F, K_T]`.
        bias: Biases `[C_out]`.
        dtype: Type to compute in.
        stride: Stride along (frequency, time).
        padding: Padding along (frequency, time).
        dilation: Dilation along (frequency, time).
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        *,
        stride: tuple[int, ...] = (1, 1),
        padding: tuple[int, ...] = (0, 0),
        dilation: tuple[int, ...] = (1, 1),
    ) -> None:
        self.dtype = dtype
        self.channels = weight.shape[0]
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self._weight = weight.detach()
        self._bias = None if bias is None else bias.detach().to(dtype)
        self._layouts: dict[torch.Size, Tensor] = {}

    @classmethod
    def of(cls, conv: nn.Conv2d, dtype: torch.dtype) -> "Convolution":
        """The convolution of a layer."""
        assert isinstance(conv.padding, tuple)
        return cls(
            conv.weight,
            conv.bias,
            dtype,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
        )

    def __call__(
        self, x: Tensor, activation: Activation = "none", padding: tuple[int, ...] | None = None
    ) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F', T']`; `padding` stands in for that of the layer."""
        padding = self.padding if padding is None else padding
        if not _LAYS_OUT:
            weight = self._weight.to(self.dtype)
            return FUNCTIONS[activation](F.conv2d(x, weight, self._bias, self.stride, padding, self.dilation))
        as_is = self._weight.dtype == self.dtype and self._weight.numel() > LARGE_WEIGHT
        if as_is and x.shape[2] * x.shape[3] > LONG:
            weight = self._weight
        else:
            weight = self._laid_out(x.shape, padding)
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, self._bias, padding, self.stride, self.dilation, 1, activation, [], "none"
        )
        return out

    def _laid_out(self, shape: torch.Size, padding: tuple[int, ...]) -> Tensor:
        """Weights in the layout that oneDNN prefers for an input shape; another one can be far slower."""
        weight = self._layouts.get(shape)
        if weight is None:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight.to(self.dtype).contiguous(memory_format=torch.channels_last),
                padding,
                self.stride,
                self.dilation,
                1,
                list(shape),
            )
            # Chunks of a track have one shape, except for the last; strips of a layer have a few.
            if len(self._layouts) >= (1 if self._weight.numel() > LARGE_WEIGHT else 8):
                self._layouts = {}
            self._layouts[shape] = weight
        return weight


def _lays_out() -> bool:
    """Whether this build of torch has the operators of oneDNN that take weights laid out beforehand."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


_LAYS_OUT = _lays_out()


class GatedConvolution:
    """`glu(conv2d(x))` as two convolutions: one to the gates with the sigmoid in it, one to the values.

    Half of the output is written and read once less, and oneDNN's sigmoid is several times as fast as torch's
    GLU: 17 to 22% of a layer in float32, 40 to 70% in bf16.

    Args:
        weight: Weights `[2 * C_out, C_in, K_F, K_T]`, those of the values first.
        bias: Biases `[2 * C_out]`.
        dtype: Type to compute in.
        padding: Padding along (frequency, time).
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, padding: tuple[int, ...] = (0, 0)
    ) -> None:
        (value, gate), (value_bias, gate_bias) = weight.chunk(2), bias.chunk(2)
        self.padding = padding
        self._value = Convolution(value, value_bias, dtype, padding=padding)
        self._gate = Convolution(gate, gate_bias, dtype, padding=padding)

    def parts(self, x: Tensor, padding: tuple[int, ...] | None = None) -> tuple[Tensor, Tensor]:
        """Values and gates, each `[B, C_out, F', T']`, of which the result is the product."""
        return self._value(x, "none", padding), self._gate(x, "sigmoid", padding)

    def __call__(
        self, x: Tensor, padding: tuple[int, ...] | None = None, out: Tensor | None = None
    ) -> Tensor:
        """`[B, C_in, F, T]` to `[B, C_out, F', T']`, written to `out` if it is given."""
        value, gate = self.parts(x, padding)
        return torch.mul(value, gate, out=value if out is None else out)


def ranges(size: int, values: int) -> Iterator[tuple[int, int]]:
    """Cut `size` positions of `values` values each into ranges that fit in the cache."""
    step = max(1, CACHE_VALUES // values)
    for start in range(0, size, step):
        yield start, min(size, start + step)


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors `[B, C, F, T]`, alike but for C, into pieces of which the first fits in the cache."""
    b, c, f, t = tensors[0].shape
    axis, size, other = (2, f, t) if f > 1 else (3, t, f)
    for start, end in ranges(size, b * c * other):
        yield tuple(x.narrow(axis, start, end - start) for x in tensors)
