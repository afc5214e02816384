"""From the contents of a file to a network: a known architecture, validated settings, checked weights."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from hdemucs.errors import CheckpointError, one_line
from hdemucs.model import NETWORKS, Network


def build(architecture: str, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> Network:
    """Build a network of a known architecture with the given weights, in float32 and evaluation mode.

    Args:
        architecture: Name of the network, a key of `hdemucs.model.NETWORKS`.
        settings: Settings of its configuration.
        state: Weights by the names of its parameters; 1-D convolutions may lack the frequency axis.

    Raises:
        CheckpointError: Something does not fit, in one line without the file's name.
    """
    if architecture not in NETWORKS:
        raise CheckpointError(f"unknown architecture {architecture!r:.60}, known are {listing(NETWORKS)}")
    network = NETWORKS[architecture]
    unknown = settings.keys() - {item.name for item in fields(network.Config)}
    if unknown:
        raise CheckpointError(f"unknown settings {listing(unknown)}; it may need a newer hdemucs")
    if "sources" not in settings:
        raise CheckpointError("it does not say which sources it separates")
    # On the meta device at first: a wrong width is found by its shapes, not by running out of memory.
    try:
        with torch.device("meta"):
            model = network(**settings)
    except (ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"its settings are not valid: {one_line(error)}") from error
    model.load_state_dict(fit_weights(model, state), assign=True)
    return model.eval()


def fit_weights(model: Network, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring `state` to float32 and the shapes of `model`'s parameters; CheckpointError where it differs."""
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
        fitted[name] = value.float()
        # Any NaN or infinity makes the sum one too, in a quarter of the time that checking each number takes.
        if not fitted[name].sum().isfinite():
            raise CheckpointError(f"its {name} contains NaN or infinite numbers; download the file again")
    return fitted


def listing(names: Iterable[str], most: int = 3) -> str:
    """List the first names of many, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
