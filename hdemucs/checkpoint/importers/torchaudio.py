"""Models of torchaudio: the state dict of `torchaudio.models.hdemucs_high`."""

from collections.abc import Mapping

from torch import Tensor

from hdemucs.checkpoint.build import build
from hdemucs.checkpoint.importers.demucs import translate_weights
from hdemucs.errors import CheckpointError
from hdemucs.model import Network


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
