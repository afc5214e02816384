"""Build a network from the contents of a file: known architecture, validated settings, checked weights."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from hdemucs.errors import CheckpointError, one_line
from hdemucs.model import NETWORKS, Network

ALIGNMENT = 64
"""Bytes to whose multiples torch aligns tensors that it allocates on a CPU."""


def build(architecture: str, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> Network:
    """Build a network of a known architecture with the given weights, in float32 and evaluation mode.

    Args:
        architecture: Name of the network, a key of `hdemucs.model.NETWORKS`.
        settings: Settings of the network by name, `sources` among them.
        state: Weights by parameter name; 1-D convolutions may lack the frequency axis.

    Raises:
        CheckpointError: The architecture is unknown, or settings or weights do not fit it. The message does
            not name the file.
    """
    if architecture not in NETWORKS:
        raise CheckpointError(f"unknown architecture {architecture!r:.60}, known are {listing(NETWORKS)}")
    network = NETWORKS[architecture]
    unknown = settings.keys() - {item.name for item in fields(network.Config)}
    if unknown:
        raise CheckpointError(f"unknown settings {listing(unknown)}; it may need a newer hdemucs")
    if "sources" not in settings:
        raise CheckpointError("it does not say which sources it separates")
    # Built on the meta device, so that a wrong width shows in the shapes and not by running out of memory.
    try:
        with torch.device("meta"):
            model = network(**settings)
    except (ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"its settings are not valid: {one_line(error)}") from error
    model.load_state_dict(fit_weights(model, state), assign=True)
    return model.eval()


def fit_weights(model: Network, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert `state` to float32 and to the shapes of `model`'s parameters.

    Raises:
        CheckpointError: A weight is missing, unknown to the network, of another shape, or not finite.
    """
    wanted = model.state_dict()
    missing, surplus = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing:
        raise CheckpointError(f"it lacks the weights {listing(missing)}")
    if surplus:
        raise CheckpointError(f"it has weights that the network does not have: {listing(surplus)}")
    fitted = {}
    for name, parameter in wanted.items():
        value = state[name]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise CheckpointError(f"its {name} is not a tensor of floating-point numbers")
        if value.dim() == 3 and parameter.dim() == 4:
            value = value.unsqueeze(2)
        if value.shape != parameter.shape:
            raise CheckpointError(
                f"its {name} has the shape {list(value.shape)}, expected {list(parameter.shape)}"
            )
        # Kernels round differently by where numbers lie in memory; files do not put them where torch does.
        value = value.float()
        fitted[name] = value if value.data_ptr() % ALIGNMENT == 0 else value.clone()
        # A single NaN or infinity makes the sum one too; this takes a quarter of the time of checking each.
        if not fitted[name].sum().isfinite():
            raise CheckpointError(f"its {name} contains NaN or infinite numbers; download the file again")
    return fitted


def listing(names: Iterable[str], most: int = 3) -> str:
    """The first `most` names in alphabetical order, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
