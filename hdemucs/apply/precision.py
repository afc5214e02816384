"""The type in which a network computes, by the precision asked for and the device."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch

from hdemucs.errors import OptionError

Precision = Literal["auto", "float32", "bfloat16", "float16"]

PRECISIONS: tuple[str, ...] = get_args(Precision)

_TYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def inner_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Type to compute in between the STFT and its inverse, which are in float32 in any precision.

    Args:
        precision: One of `PRECISIONS`. `auto` takes bfloat16 where processor or GPU have instructions for it,
            float16 on NVIDIA GPUs that only have those, and float32 elsewhere.
        device: Device to compute on.

    Raises:
        OptionError: The device cannot compute in this precision.
    """
    if precision == "auto":
        return _fastest(device)
    if precision == "float16" and device.type == "cpu":
        raise OptionError("precision float16 is for GPUs; on a CPU, choose bfloat16 or float32")
    return _TYPES[precision]


def _fastest(device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    if device.type == "cuda" and torch.version.hip is None:
        major, _ = torch.cuda.get_device_capability(device)
        # Tensor cores came with 7.0, and with bfloat16, whose range no activation exceeds, with 8.0.
        return torch.bfloat16 if major >= 8 else torch.float16 if major == 7 else torch.float32
    return torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether oneDNN multiplies bfloat16 by instructions for it; without them, float32 is faster."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    checks = [getattr(torch.cpu, name, None) for name in names]
    return torch.backends.mkldnn.is_available() and any(check is not None and check() for check in checks)
