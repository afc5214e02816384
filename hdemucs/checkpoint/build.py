"""From what a file says to a network: a closed table of architectures, checked arguments, checked weights."""

import inspect
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from hdemucs.errors import CheckpointError, one_line
from hdemucs.model import Demucs, HDemucs, Network

ARCHITECTURES: Mapping[str, type[Network]] = {"HDemucs": HDemucs, "Demucs": Demucs}

LARGEST_NUMBER = 1_000_000
"""Above any sample rate or width: a file cannot ask for a network of absurd size."""
LARGEST_DEPTH = 16


def arguments_of(model: Network) -> dict[str, Any]:
    """Constructor arguments that build `model` again: each is an attribute of the same name."""
    return {name: getattr(model, name) for name in inspect.signature(type(model)).parameters}


def build(architecture: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> Network:
    """Network of a known architecture with the given weights, in float32 and evaluation mode.

    Args:
        architecture: a name in `ARCHITECTURES`.
        arguments: of its constructor.
        state: weights by the names of its parameters; 1-D convolutions may lack the frequency axis.

    Raises:
        CheckpointError: what does not fit, in one line without the file's name.
    """
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"unknown architecture {architecture!r}, this version has {', '.join(ARCHITECTURES)}"
        )
    cls = ARCHITECTURES[architecture]
    check_arguments(cls, arguments)
    # Without memory at first: a wrong width is found by its shapes, not by running out of memory.
    try:
        with torch.device("meta"):
            model = cls(**arguments)
    except (ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"its settings make no network: {one_line(error)}") from error
    model.load_state_dict(fit_weights(model, state), assign=True)
    return model.eval()


def check_arguments(cls: type[Network], arguments: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless each argument is of its parameter's type and of a sane size."""
    parameters = inspect.signature(cls).parameters
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise CheckpointError(f"unknown settings {listing(unknown)}; it may need a newer hdemucs")
    if "sources" not in arguments:
        raise CheckpointError("it does not say which sources it separates")
    for name, value in arguments.items():
        if not _has_kind(value, "sources" if name == "sources" else parameters[name].default):
            raise CheckpointError(f"its setting {name} cannot be {value!r:.60}")
    if arguments.get("depth", 1) > LARGEST_DEPTH:
        raise CheckpointError(f"its setting depth cannot be {arguments['depth']}")


def _has_kind(value: object, default: object) -> bool:
    match default:
        case "sources":
            return _is_list(value) and all(isinstance(item, str) for item in value)  # type: ignore[attr-defined]
        case ():
            return _is_list(value) and all(_is_number(item) for item in value)  # type: ignore[attr-defined]
        case bool() | str():
            return isinstance(value, type(default))
        case int() if isinstance(value, float | Fraction):
            # `segment` and the like are whole by default only.
            return _is_number(value)
        case _:
            return _is_number(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) <= 1000


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float | Fraction)
        and not isinstance(value, bool)
        and -LARGEST_NUMBER <= value <= LARGEST_NUMBER
    )


def fit_weights(model: Network, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` in float32 and in the shapes of `model`'s parameters; CheckpointError where it differs."""
    wanted = model.state_dict()
    missing, surplus = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing:
        raise CheckpointError(f"it lacks {listing(missing)}")
    if surplus:
        raise CheckpointError(f"it has weights that the network does not: {listing(surplus)}")
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
        # Any NaN or infinite number makes the sum one, in a quarter of the time of looking at each.
        if not fitted[name].sum().isfinite():
            raise CheckpointError(f"its {name} holds NaN or infinite numbers; get the file again")
    return fitted


def listing(names: Iterable[str], most: int = 3) -> str:
    """The first names of many, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
