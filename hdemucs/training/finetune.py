"""Start of a fine-tuning: a trained network, output layers for other sources, frozen weights."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor

from hdemucs.checkpoint.build import arguments_of
from hdemucs.errors import TrainingError
from hdemucs.model import Bag, HDemucs, Model, Network
from hdemucs.model.layers import Upsample
from hdemucs.pretrained import load_model


@dataclass(frozen=True)
class Carried:
    """What a network has from the one that it started from; `str` of it is a line for the log.

    Attributes:
        init: what it started from.
        kept: sources whose output weights it has.
        new: sources with output weights drawn at random.
        dropped: sources of that network which it has not.
    """

    init: str
    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        parts = {"output layers kept": self.kept, "new": self.new, "dropped": self.dropped}
        said = [f"{what}: {', '.join(names)}" for what, names in parts.items() if names]
        return f"starts from {self.init}; {'; '.join(said)}"


def initialise(init: str, sources: Sequence[str] | None = None, *, seed: int = 0) -> tuple[Network, Carried]:
    """A trained network to go on with: all of it trainable, in float32 and training mode.

    Args:
        init: a registered name, a path, or `hf://user/repo`; with `#k`, the k-th member of a bag, from 1.
        sources: what it is to separate, in order; None for what it was trained for. Sources of the same name
            keep their outputs, whatever the order, and new ones have theirs drawn as in a new network. All
            else is carried over, its sample rate, channels and segment too.
        seed: of what is drawn.

    Returns:
        The network, and what it has from the one that it started from.

    Raises:
        TrainingError: `init` is a bag and does not say which member, or has fewer; or sources that make no
            network.
        UnknownModelError, DownloadError, CheckpointError: from loading it.
    """
    origin = _member(init)
    wanted = list(origin.sources if sources is None else sources)
    try:
        # New in any case: what a file gave may share its memory, or not be trainable.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = type(origin)(**{**arguments_of(origin), "sources": wanted})
    except ValueError as error:
        raise TrainingError(f"{init} cannot be trained for other sources, {wanted}: {error}") from error
    kept = [source for source in wanted if source in origin.sources]
    _carry_over(origin, model, kept)
    carried = Carried(
        init,
        tuple(kept),
        tuple(source for source in wanted if source not in kept),
        tuple(source for source in origin.sources if source not in kept),
    )
    return model.train(), carried


def _member(init: str) -> Network:
    """The network that `init` means, which may be a member of a bag."""
    spec, number = init, None
    match = re.fullmatch(r"(.+)#(\d+)", init)
    if match and not Path(init).exists():
        spec, number = match[1], int(match[2])
    model: Model = load_model(spec)
    members = list(model.models) if isinstance(model, Bag) else [model]
    if number is None and len(members) > 1:
        raise TrainingError(
            f"{init} is a bag of {len(members)} models, and training goes on from one: "
            f"write {spec}#1 to {spec}#{len(members)}"
        )
    if number is not None and not 1 <= number <= len(members):
        raise TrainingError(
            f"{spec} has no member {number}: write {spec}#1"
            + f" to {spec}#{len(members)}" * (len(members) > 1)
        )
    network: Network = members[(number or 1) - 1]  # type: ignore[assignment]
    return network


@torch.no_grad()
def _carry_over(origin: Network, model: Network, kept: Sequence[str]) -> None:
    """Copy the weights of `origin` into `model`; of those with values per source, the ones of `kept`."""
    per_source = _per_source(model)
    weights = origin.state_dict()
    for name, value in model.state_dict().items():
        if name not in per_source:
            value.copy_(weights[name])
            continue
        old = _by_source(weights[name], per_source[name], len(origin.sources))
        new = _by_source(value, per_source[name], len(model.sources))
        for source in kept:
            new[model.sources.index(source)] = old[origin.sources.index(source)]


def _per_source(model: Network) -> dict[str, int]:
    """Names of the weights that have values per source, with the axis on which: the output layers'."""
    if isinstance(model, HDemucs):
        branches = {"freq_decoder": model.freq_decoder, "time_decoder": model.time_decoder}
    else:
        branches = {"decoder": model.decoder}
    axes: dict[str, int] = {}
    for branch, layers in branches.items():
        for prefix, layer in layers.named_modules(prefix=branch):
            # In the last layer, which is one, or holds one per band.
            if isinstance(layer, Upsample) and prefix.split(".")[1] == str(len(layers) - 1):
                axes[f"{prefix}.conv_tr.weight"] = 1
                axes[f"{prefix}.conv_tr.bias"] = 0
                axes |= {f"{prefix}.norm2.{name}": 0 for name, _ in layer.norm2.named_parameters()}
    return axes


def _by_source(value: Tensor, axis: int, sources: int) -> Tensor:
    """View `[S, ...]` of a weight whose `axis` has the sources, each with its channels and parts."""
    return value.unflatten(axis, (sources, -1)).movedim(axis, 0)


def freeze(model: Network, patterns: Sequence[str]) -> int:
    """Exclude parameters from training.

    Args:
        model: whose parameters then need no gradient.
        patterns: of their names, as for files: `freq_encoder.*`, `*.lstm.*`.

    Returns:
        How many numbers are frozen.

    Raises:
        TrainingError: a pattern that no name matches, or patterns that leave nothing to train.
    """
    parameters = dict(model.named_parameters())
    frozen: set[str] = set()
    for pattern in patterns:
        matches = {name for name in parameters if fnmatchcase(name, pattern)}
        if not matches:
            near = ", ".join(_nearest(pattern, parameters))
            raise TrainingError(f"freeze: no parameter is named {pattern}; the nearest are {near}")
        frozen |= matches
    if len(frozen) == len(parameters):
        raise TrainingError(f"freeze: {', '.join(patterns)} leaves nothing to train; freeze less")
    for name in frozen:
        parameters[name].requires_grad_(False)
    return sum(parameters[name].numel() for name in frozen)


def _nearest(pattern: str, names: Iterable[str]) -> list[str]:
    """The three names, of parameters or of modules with all in them, that are most like `pattern`."""
    names = list(names)
    modules = {f"{name[:end]}.*" for name in names for end, letter in enumerate(name) if letter == "."}
    return get_close_matches(pattern, sorted({*names, *modules}), n=3, cutoff=0)
