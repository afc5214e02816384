"""What cannot be trained with: values out of range, settings at odds with each other or with this machine."""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hdemucs.errors import one_line
from hdemucs.model import NETWORKS, Network
from hdemucs.suggest import hint
from hdemucs.training.config.schema import Config, leaves

ELSEWHERE = {
    "sources": "sources",
    "sample_rate": "excerpts.sample_rate",
    "audio_channels": "excerpts.audio_channels",
}
"""Settings of a network that the data decide as well, and their keys."""
ANY_SOURCES = ("drums", "bass", "other", "vocals")
"""Sources that a network is tried with as long as only the files tell what its sources are."""


class Problem(NamedTuple):
    """A key, and what is wrong with it."""

    key: str
    what: str


def problems_of(config: Config) -> list[Problem]:
    """All that is wrong with a configuration whose types are right."""
    checks: tuple[Callable[[Config], Iterator[Problem]], ...] = (
        _ranges,
        _data,
        _sources,
        _network,
        _batch,
        _lists,
        _machine,
    )
    return [problem for check in checks for problem in check(config)]


def _ranges(config: Config) -> Iterator[Problem]:
    for name, item, value in leaves(config):
        limits = item.metadata
        if "length" in limits and len(value) != limits["length"]:
            yield Problem(name, f"must be {limits['length']} numbers, not {value}")
        for key, number in _numbers(name, value):
            if not (math.isfinite(number) and _within(number, limits)):
                allowed = _range(limits) if math.isfinite(number) else "finite"
                yield Problem(key, f"must be {allowed}, not {number:g}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers in a value, with the key of each."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(f"{name}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(name, item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def _within(number: float, limits: Mapping[str, Any]) -> bool:
    return (
        number >= limits.get("least", -math.inf)
        and number <= limits.get("most", math.inf)
        and number > limits.get("above", -math.inf)
        and number < limits.get("below", math.inf)
    )


def _range(limits: Mapping[str, Any]) -> str:
    words = {"least": "at least", "most": "at most", "above": "above", "below": "below"}
    said = [f"{word} {limits[limit]:g}" for limit, word in words.items() if limit in limits]
    return " and ".join(said)


def _data(config: Config) -> Iterator[Problem]:
    if not config.data:
        yield Problem("data", "is missing; give the folder of songs as data=/path/to/songs")
    for folder in config.data:
        if not Path(folder).is_dir():
            yield Problem("data", f"{folder} is no folder")


def _sources(config: Config) -> Iterator[Problem]:
    if config.sources is None:
        return
    if not _usable(config.sources):
        yield Problem("sources", f"must be different names, at least one, not {config.sources}")
    for name in config.loss.weights:
        if name not in config.sources:
            known = ", ".join(config.sources)
            near = hint(name, config.sources)
            yield Problem(f"loss.weights.{name}", f"is no source of this training, which has {known}{near}")
    if config.sources and not any(config.loss.weights.get(name, 1.0) for name in config.sources):
        yield Problem("loss.weights", "must be above 0 for at least one source")


def _usable(sources: list[str]) -> bool:
    return len(sources) > 0 and all(sources) and len(set(sources)) == len(sources)


def _network(config: Config) -> Iterator[Problem]:
    """Problems of the network, built without memory; that of `init` is known only when it is loaded."""
    if config.init:
        if config.model:
            yield Problem("model", "is decided by init; leave one of them out, as with model=null")
        return
    if config.freeze:
        yield Problem("freeze", "needs init: these weights would stay random")
    arguments = dict(config.model)
    name = arguments.pop("architecture")
    if not isinstance(name, str) or name not in NETWORKS:
        near = hint(str(name), NETWORKS)
        yield Problem("model.architecture", f"must be one of {', '.join(NETWORKS)}, not {name!r}{near}")
        return
    wrong = list(_arguments(NETWORKS[name], arguments))
    yield from wrong
    if not wrong:
        yield from _build(config, NETWORKS[name], arguments)


def _arguments(cls: type[Network], arguments: Mapping[str, Any]) -> Iterator[Problem]:
    known = [item.name for item in fields(cls.Config) if item.name not in ELSEWHERE]
    for name, value in arguments.items():
        key = f"model.{name}"
        if name in ELSEWHERE:
            yield Problem(key, f"is set by {ELSEWHERE[name]}")
        elif name not in known:
            near = hint(name, known) or f"; it takes {', '.join(known)}"
            yield Problem(key, f"is not a setting of {cls.__name__}{near}")
        else:
            try:
                cls.Config(ANY_SOURCES, **{name: value})
            except ValueError as error:
                yield Problem(key, str(error).removeprefix(f"{name} "))


def _build(config: Config, cls: type[Network], arguments: Mapping[str, Any]) -> Iterator[Problem]:
    sources = config.sources if config.sources is not None and _usable(config.sources) else ANY_SOURCES
    excerpts = config.excerpts
    try:
        # torch warns of layers without channels, which are a problem below.
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            model = cls(
                sources=list(sources),
                sample_rate=excerpts.sample_rate,
                audio_channels=excerpts.audio_channels,
                **arguments,
            )
    except (ValueError, RuntimeError, OverflowError, ArithmeticError) as error:
        yield Problem("model", f"is not a valid network: {one_line(error)}")
        return
    if any(parameter.numel() == 0 for parameter in model.parameters()):
        yield Problem("model.channels", "is too small: the residual branches have a quarter of it")
    needed = model.min_length
    length = excerpts.segment * excerpts.sample_rate
    if 0 < length < needed:
        least = math.ceil(1000 * needed / excerpts.sample_rate) / 1000
        yield Problem("excerpts.segment", f"is too short for this network, which needs {least:g} s")


def _batch(config: Config) -> Iterator[Problem]:
    # As torchrun and accelerate tell each of their processes; 1 without them.
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    parts = devices * config.accumulate
    if parts < 1 or config.batch_size < 1:
        return
    if config.batch_size % parts:
        each = f" on each of {devices} devices" if devices > 1 else ""
        yield Problem(
            "batch_size",
            f"{config.batch_size} examples cannot be divided into {config.accumulate} equal parts{each}",
        )
    group, examples = config.augment.remix_group, config.batch_size // devices
    if group > examples:
        yield Problem(
            "augment.remix_group", f"must be at most {examples}, a device's examples in a batch, not {group}"
        )


def _lists(config: Config) -> Iterator[Problem]:
    gain = config.augment.gain
    if len(gain) == 2 and gain[0] > gain[1]:
        yield Problem("augment.gain", f"must be the smallest, then the largest, not {gain}")
    averages = config.averages
    for key, decays in (("per_batch", averages.per_batch), ("per_epoch", averages.per_epoch)):
        if len(set(decays)) != len(decays):
            yield Problem(f"averages.{key}", f"must be different decays, not {decays}")


def _machine(config: Config) -> Iterator[Problem]:
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        yield Problem("device", "there is no CUDA device here; leave it null, or set cpu")
    elif config.precision == "fp16" and (config.device == "cpu" or not cuda):
        yield Problem("precision", "fp16 needs a CUDA device; on a CPU there are no and bf16")
