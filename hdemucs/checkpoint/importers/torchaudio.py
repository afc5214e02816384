"""Models of torchaudio: the state dict of `torchaudio.models.hdemucs_high`, and objects in memory.

These are `HDemucs` modules, and the bundles of `torchaudio.pipelines`. Both are recognised by the names of
their classes and never need torchaudio to be imported here.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol, cast

from torch import Tensor, nn

from hdemucs.checkpoint.build import build
from hdemucs.checkpoint.importers.demucs import translate_weights
from hdemucs.errors import CheckpointError, one_line
from hdemucs.model import Network

BEYOND_ALL_LAYERS = 999
"""Layer from which something starts that no layer has, as in published settings."""

SAMPLE_RATE = 44100
"""Sample rate in Hz of all of Hybrid Demucs that torchaudio publishes."""


class Bundle(Protocol):
    """A `torchaudio.pipelines.SourceSeparationBundle`: how to get a model, and what it was trained on."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model in Hz."""

    def get_model(self) -> nn.Module:
        """Build the model, with weights that torchaudio downloads unless they are in torch.hub's cache."""


def import_state(state: Mapping[str, Tensor]) -> Network:
    """Build Hybrid Demucs from a bare state dict of torchaudio's `hdemucs_high`.

    A state dict contains no settings. The only architecture that torchaudio publishes, for drums, bass, other
    and vocals in stereo at 44.1 kHz, is recognised by its shapes.

    Args:
        state: Weights by their names in torchaudio.

    Raises:
        CheckpointError: The shapes are those of another network, or weights are missing.
    """
    depth = len({name.split(".")[1] for name in state if name.startswith("freq_encoder.")})
    try:
        frequencies, channels = state["freq_emb.embedding.weight"].shape
        outputs = state[f"time_decoder.{depth - 2}.conv_tr.weight"].shape[1]
    except (KeyError, ValueError, IndexError):
        outputs = frequencies = channels = 0
    if (depth, outputs, frequencies) != (6, 8, 512):
        raise CheckpointError(
            "its state dict is not that of torchaudio's hdemucs_high; build the model in Python, load the "
            "state with hdemucs.checkpoint.translate_weights and save it with hdemucs.checkpoint.save"
        )
    settings = {"sources": ["drums", "bass", "other", "vocals"], "channels": channels}
    return build("HDemucs", settings, translate_weights("HDemucs", state))


def as_network(model: object) -> Network | None:
    """A model of torchaudio in memory as a network of this library; None for any other object.

    Args:
        model: An `HDemucs`, whose sample rate is taken to be 44.1 kHz because it does not know it; or a
            bundle, which knows it, and whose weights torchaudio downloads unless torch.hub's cache has them.

    Raises:
        CheckpointError: A setting has a value that this library's network does not have, or the model of the
            bundle is not an `HDemucs` or cannot be loaded.
    """
    if _is_a(model, "HDemucs"):
        return _from_module(cast(nn.Module, model), SAMPLE_RATE)
    if not _is_a(model, "SourceSeparationBundle"):
        return None
    bundle = cast(Bundle, model)
    try:
        module = bundle.get_model()
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"torchaudio cannot load its bundle's model ({one_line(error)})") from error
    if not _is_a(module, "HDemucs"):
        raise CheckpointError(f"the bundle's {type(module).__name__} is not supported, only HDemucs")
    return _from_module(module, bundle.sample_rate)


def _is_a(model: object, name: str) -> bool:
    """Whether the class of an object, or one that it is derived from, is torchaudio's of this name."""
    return any(
        kind.__name__ == name and kind.__module__.partition(".")[0] == "torchaudio"
        for kind in type(model).__mro__
    )


def _from_module(module: nn.Module, sample_rate: int) -> Network:
    """Hybrid Demucs with the settings of a torchaudio `HDemucs` and a copy of its weights."""
    foreign: Any = module
    embedding = foreign.freq_emb
    supported = {"kernel_size": 8, "stride": 4, "context": 1, "emb_scale": 10}
    for name, value in supported.items():
        theirs = getattr(embedding, "scale", value) if name == "emb_scale" else getattr(foreign, name)
        if theirs != value:
            raise CheckpointError(f"torchaudio's HDemucs with {name}={theirs} is not supported, only {value}")
    state = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
    norms = [layer.norm1 for layer in foreign.freq_encoder if isinstance(layer.norm1, nn.GroupNorm)]
    settings = {
        "sources": list(foreign.sources),
        "audio_channels": foreign.audio_channels,
        "channels": foreign.channels,
        "depth": foreign.depth,
        "sample_rate": sample_rate,
        "n_fft": foreign.nfft,
        "freq_emb": 0.0 if embedding is None else foreign.freq_emb_scale,
        "norm_starts": _first_layer(state, r"norm1\."),
        "lstm_starts": _first_layer(state, r"dconv\..*\.lstm\."),
        "attention_starts": _first_layer(state, r"dconv\..*\.query\."),
        **({"norm_groups": norms[0].num_groups} if norms else {}),
    }
    return build("HDemucs", settings, translate_weights("HDemucs", state))


def _first_layer(state: Mapping[str, Tensor], pattern: str) -> int:
    """First layer of the spectrogram's encoder with weights of this name; a number beyond all without any."""
    found = (re.match(rf"freq_encoder\.(\d+)\.{pattern}", name) for name in state)
    return min((int(match[1]) for match in found if match), default=BEYOND_ALL_LAYERS)
