"""The reference implementations that parity tests compare with, installed by the test extra."""

from types import ModuleType
from typing import Any

import torch
from demucs.demucs import Demucs as DemucsReference
from demucs.hdemucs import HDemucs as HDemucsReference
from demucs.htdemucs import HTDemucs as HTDemucsReference
from torch import nn

from hdemucs.checkpoint.build import build
from hdemucs.checkpoint.importers.demucs import translate_settings, translate_weights
from hdemucs.model import Network
from tests.installed import installed_module

SOURCES = ["drums", "bass", "other", "vocals"]
REFERENCES = {"HDemucs": HDemucsReference, "HTDemucs": HTDemucsReference, "Demucs": DemucsReference}
TRANSFORMER: dict[str, Any] = {"dconv_mode": 3, "bottom_channels": 32, "t_layers": 3, "t_heads": 4}
"""Settings of a small `HTDemucs` that all published models share, except for sizes."""


def torchaudio_hdemucs() -> ModuleType:
    """torchaudio's module of Hybrid Demucs, read from the installed distribution.

    The package itself is not imported: its compiled part refuses to load beside other builds of torch.
    """
    return installed_module("torchaudio", "torchaudio/models/_hdemucs.py")


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Give a model weights as if trained: residual branches count, and no normalisation is neutral."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith(".scale"):
            parameter.data = 0.3 + 0.1 * noise
        elif parameter.dim() == 1:
            parameter.data = parameter.data + 0.1 * noise
        else:
            parameter.data = parameter.data * (1 + 0.1 * noise)


def reference_pair(architecture: str, **settings: Any) -> tuple[nn.Module, Network]:
    """A model of the package `demucs` with random weights, and this library's model with the same weights."""
    torch.manual_seed(0)
    settings = {"sources": SOURCES, **settings}
    reference = REFERENCES[architecture](**settings).eval()
    randomise(reference)
    state = translate_weights(architecture, reference.state_dict())
    return reference, build(architecture, translate_settings(architecture, [], settings), state)
