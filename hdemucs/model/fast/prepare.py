"""Copies of networks with their layers in fast forms."""

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch
from torch import nn

from hdemucs.model import layers
from hdemucs.model.base import Network
from hdemucs.model.fast.layers import (
    FastBandedDecoder,
    FastDecoder,
    FastDownsample,
    FastEncoder,
    FastFrequencyEmbedding,
    FastUpsample,
)
from hdemucs.model.fast.sequence import FastBLSTM
from hdemucs.model.fast.spectrogram import FastSynthesis
from hdemucs.model.lstm import BLSTM
from hdemucs.model.spectrogram import Synthesis

NetworkT = TypeVar("NetworkT", bound=Network)

_FORMS: Mapping[type[nn.Module], Callable[..., nn.Module]] = {
    layers.Downsample: FastDownsample,
    layers.EncoderLayer: FastEncoder,
    layers.Upsample: FastUpsample,
    layers.DecoderLayer: FastDecoder,
    layers.BandedDecoder: FastBandedDecoder,
    layers.FrequencyEmbedding: FastFrequencyEmbedding,
    BLSTM: FastBLSTM,
    Synthesis: FastSynthesis,
}


@torch.no_grad()
def prepare(network: NetworkT, dtype: torch.dtype) -> NetworkT:
    """Copy a network for inference on the device that it is on.

    On a CPU, layers are replaced by their fast forms, which lay weights out anew once and not at every pass.
    Elsewhere, the layers stay as they are and only their type changes. The copy shares what it can with the
    network, and does not notice when weights of the network change afterwards.

    Args:
        network: Network to copy; it stays as it is.
        dtype: Type to compute in between the STFT and its inverse.
    """
    fast = next(network.parameters()).device.type == "cpu" and dtype in (torch.float32, torch.bfloat16)
    copied = cast(NetworkT, _prepared(network, dtype, fast).eval())
    copied.inner_dtype = dtype
    return copied


def _prepared(module: nn.Module, dtype: torch.dtype, fast: bool) -> nn.Module:
    if fast and type(module) in _FORMS:
        return _FORMS[type(module)](module, dtype)
    copied = copy.copy(module)
    copied._modules = {
        name: None if child is None else _prepared(child, dtype, fast)
        for name, child in module._modules.items()
    }
    if isinstance(module, nn.RNNBase):
        # torch keeps the weights of recurrent layers a second time, in a flat list.
        return copy.deepcopy(module).to(dtype)
    copied._parameters = {
        name: None if value is None else nn.Parameter(value.to(dtype), requires_grad=False)
        for name, value in module._parameters.items()
    }
    return copied
