"""Prepares fine-tuning: loads a trained network, replaces output layers for new sources, freezes weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor

from hdemucs.errors import TrainingError
from hdemucs.model import Bag, Model, Network
from hdemucs.pretrained import load_model
from hdemucs.suggest import hint


@dataclass(frozen=True)
class Inherited:
    """What a network inherits from the model it starts from; `str()` of it is a line for the log.

    Attributes:
        init: Model it starts from, as given to `initialise`.
        kept: Sources whose output weights are kept.
        new: Sources with randomly initialised output weights.
        dropped: Sources of the original network that are left out.
    """

    init: str
    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        parts = {"output layers kept": self.kept, "new": self.new, "dropped": self.dropped}
        stated = [f"{what}: {', '.join(names)}" for what, names in parts.items() if names]
        return f"starts from {self.init}; {'; '.join(stated)}"


def initialise(
    init: str, sources: Sequence[str] | None = None, *, seed: int = 0
) -> tuple[Network, Inherited]:
    """Load a trained network for fine-tuning, with all weights trainable, in float32 and training mode.

    Args:
        init: Registered name, path, or `hf://user/repo`; with `#k` the k-th member of a bag, counted from 1.
        sources: Sources to separate, in order; None for those it was trained for. Sources that it already
            has keep their output weights, in any order; new ones start from random weights. Everything else
            is kept, including sample rate, channels and segment.
        seed: Seed of the random weights.

    Returns:
        The network, and what it inherits.

    Raises:
        TrainingError: `init` is a bag without a chosen member, or has no such member; or the network cannot
            be built for these sources.
        UnknownModelError, DownloadError, CheckpointError: The model cannot be loaded.
    """
    origin = _member(init)
    wanted = origin.sources if sources is None else list(sources)
    try:
        # Always a new network, as the loaded tensors may be memory-mapped or not trainable.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = type(origin).from_config(replace(origin.config, sources=tuple(wanted)))
    except ValueError as error:
        raise TrainingError(f"{init} cannot be trained for the sources {wanted}: {error}") from error
    kept = [source for source in wanted if source in origin.sources]
    _copy_weights(origin, model, kept)
    inherited = Inherited(
        init,
        tuple(kept),
        tuple(source for source in wanted if source not in kept),
        tuple(source for source in origin.sources if source not in kept),
    )
    return model.train(), inherited


def _member(init: str) -> Network:
    """Load the network that `init` names, which may be a member of a bag."""
    spec, number = init, None
    match = re.fullmatch(r"(.+)#(\d+)", init)
    if match and not Path(init).exists():
        spec, number = match[1], int(match[2])
    model: Model = load_model(spec)
    members = list(model.models) if isinstance(model, Bag) else [model]
    choices = f"{spec}#1" + f" to {spec}#{len(members)}" * (len(members) > 1)
    if number is None and len(members) > 1:
        raise TrainingError(
            f"{init} is a bag of {len(members)} models, and training starts from one: choose {choices}"
        )
    if number is not None and not 1 <= number <= len(members):
        raise TrainingError(f"{spec} has no member {number}: choose {choices}")
    network: Network = members[(number or 1) - 1]  # type: ignore[assignment]
    return network


@torch.no_grad()
def _copy_weights(origin: Network, model: Network, kept: Sequence[str]) -> None:
    """Copy the weights of `origin` to `model`; where there are some per source, only those of `kept`."""
    axes = model.source_axes()
    weights = origin.state_dict()
    for name, value in model.state_dict().items():
        if name not in axes:
            value.copy_(weights[name])
            continue
        old = _by_source(weights[name], axes[name], len(origin.sources))
        new = _by_source(value, axes[name], len(model.sources))
        for source in kept:
            new[model.sources.index(source)] = old[origin.sources.index(source)]


def _by_source(value: Tensor, axis: int, sources: int) -> Tensor:
    """View a weight as `[S, ...]`; along `axis` it holds all values of one source, then those of the next."""
    return value.unflatten(axis, (sources, -1)).movedim(axis, 0)


def freeze(model: Network, patterns: Sequence[str]) -> int:
    """Exclude parameters from training.

    Args:
        model: Network whose parameters are frozen.
        patterns: Shell-style patterns of parameter names: `freq_encoder.*`, `*.lstm.*`.

    Returns:
        Number of frozen values.

    Raises:
        TrainingError: No name matches a pattern, or the patterns leave nothing to train.
    """
    parameters = dict(model.named_parameters())
    frozen: set[str] = set()
    for pattern in patterns:
        matches = {name for name in parameters if fnmatchcase(name, pattern)}
        if not matches:
            modules = {f"{name[:end]}.*" for name in parameters for end, c in enumerate(name) if c == "."}
            near = hint(pattern, sorted({*parameters, *modules}))
            first = sorted({name.partition(".")[0] for name in parameters})
            known = near or f"; names begin with {', '.join(first)}"
            raise TrainingError(f"freeze: no parameter is named {pattern}{known}")
        frozen |= matches
    if len(frozen) == len(parameters):
        raise TrainingError(f"freeze: {', '.join(patterns)} leaves nothing to train; freeze less")
    for name in frozen:
        parameters[name].requires_grad_(False)
    return sum(parameters[name].numel() for name in frozen)
