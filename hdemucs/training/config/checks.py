"""Checks on a configuration: values out of range, settings that conflict with each other or the machine."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hdemucs.errors import one_line
from hdemucs.model import NETWORKS, Network
from hdemucs.suggest import hint
from hdemucs.training.config.schema import Config, leaves

SET_BY = {
    "sources": "sources",
    "sample_rate": "excerpts.sample_rate",
    "audio_channels": "excerpts.audio_channels",
}
"""Network settings that also apply to the songs -> the configuration keys that set both."""
ANY_SOURCES = ("drums", "bass", "other", "vocals")
"""Sources for checking a network before the songs, which determine the real ones, have been scanned."""


class ConfigProblem(NamedTuple):
    """A configuration key, and what is wrong with its value."""

    key: str
    what: str


def problems_of(config: Config) -> list[ConfigProblem]:
    """List all problems of a configuration that has the right types."""
    checks: tuple[Callable[[Config], Iterator[ConfigProblem]], ...] = (
        _ranges,
        _data,
        _sources,
        _network,
        _batch,
        _lists,
        _machine,
    )
    return [problem for check in checks for problem in check(config)]


def _ranges(config: Config) -> Iterator[ConfigProblem]:
    for name, item, value in leaves(config):
        limits = item.metadata
        if "length" in limits and len(value) != limits["length"]:
            yield ConfigProblem(name, f"must be a list of {limits['length']} numbers, not {value}")
        for key, number in _numbers(name, value):
            if not (math.isfinite(number) and _within(number, limits)):
                allowed = _range(limits) if math.isfinite(number) else "finite"
                yield ConfigProblem(key, f"must be {allowed}, not {number:g}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield the numbers in a value, each with its key."""
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
    return " and ".join(f"{word} {limits[limit]:g}" for limit, word in words.items() if limit in limits)


def _data(config: Config) -> Iterator[ConfigProblem]:
    if not config.data:
        yield ConfigProblem("data", "must be given: a folder of songs, as in data=/path/to/songs")
    for folder in config.data:
        if not Path(folder).is_dir():
            yield ConfigProblem("data", f"{folder} is not a folder")


def _sources(config: Config) -> Iterator[ConfigProblem]:
    if config.sources is None:
        return
    if not _usable(config.sources):
        yield ConfigProblem("sources", f"must be one or more distinct names, not {config.sources}")
    for name in config.loss.weights:
        if name not in config.sources:
            known = ", ".join(config.sources)
            near = hint(name, config.sources)
            yield ConfigProblem(f"loss.weights.{name}", f"is not one of the sources, {known}{near}")
    if config.sources and not any(config.loss.weights.get(name, 1.0) for name in config.sources):
        yield ConfigProblem("loss.weights", "must be above 0 for at least one source")


def _usable(sources: list[str]) -> bool:
    return len(sources) > 0 and all(sources) and len(set(sources)) == len(sources)


def _network(config: Config) -> Iterator[ConfigProblem]:
    """Check the network by building it on the meta device; with `init`, it is known only once loaded."""
    if config.init:
        if config.model:
            yield ConfigProblem(
                "model", "is determined by init; leave out one of them, for instance with model=null"
            )
        return
    if config.freeze:
        yield ConfigProblem("freeze", "needs init; without it, the frozen weights would stay random")
    arguments = dict(config.model)
    name = arguments.pop("architecture")
    if not isinstance(name, str) or name not in NETWORKS:
        near = hint(str(name), NETWORKS)
        yield ConfigProblem("model.architecture", f"must be one of {', '.join(NETWORKS)}, not {name!r}{near}")
        return
    wrong = list(_arguments(NETWORKS[name], arguments))
    yield from wrong
    if not wrong:
        yield from _build(config, NETWORKS[name], arguments)


def _arguments(cls: type[Network], arguments: Mapping[str, Any]) -> Iterator[ConfigProblem]:
    known = [item.name for item in fields(cls.Config) if item.name not in SET_BY]
    for name, value in arguments.items():
        key = f"model.{name}"
        if name in SET_BY:
            yield ConfigProblem(key, f"is set by {SET_BY[name]}")
        elif name not in known:
            near = hint(name, known) or f"; it takes {', '.join(known)}"
            yield ConfigProblem(key, f"is not a setting of {cls.__name__}{near}")
        else:
            try:
                cls.Config(ANY_SOURCES, **{name: value})
            except ValueError as error:
                yield ConfigProblem(key, str(error).removeprefix(f"{name} "))


def _build(config: Config, cls: type[Network], arguments: Mapping[str, Any]) -> Iterator[ConfigProblem]:
    sources = config.sources if config.sources is not None and _usable(config.sources) else ANY_SOURCES
    excerpts = config.excerpts
    try:
        with torch.device("meta"):
            model = cls(
                sources=list(sources),
                sample_rate=excerpts.sample_rate,
                audio_channels=excerpts.audio_channels,
                **arguments,
            )
    except (ValueError, RuntimeError, OverflowError, ArithmeticError) as error:
        yield ConfigProblem("model", f"is not a valid network: {one_line(error)}")
        return
    if model.longest_segment is not None and arguments.get("segment", excerpts.segment) != excerpts.segment:
        yield ConfigProblem(
            "model.segment", "is set by excerpts.segment: this network separates what it was trained on"
        )
    needed = model.min_length
    length = excerpts.segment * excerpts.sample_rate
    if 0 < length < needed:
        least = math.ceil(1000 * needed / excerpts.sample_rate) / 1000
        yield ConfigProblem(
            "excerpts.segment", f"is too short for this network, which needs at least {least:g} s"
        )


def _batch(config: Config) -> Iterator[ConfigProblem]:
    # Set by torchrun and accelerate for each of their processes.
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    parts = devices * config.accumulate
    if parts < 1 or config.batch_size < 1:
        return
    if config.batch_size % parts:
        each = f" on each of {devices} devices" if devices > 1 else ""
        yield ConfigProblem(
            "batch_size",
            f"{config.batch_size} examples cannot be divided into {config.accumulate} equal parts{each}",
        )
    group, examples = config.augment.remix_group, config.batch_size // devices
    if group > examples:
        yield ConfigProblem(
            "augment.remix_group", f"must be at most {examples}, the batch size per device, not {group}"
        )


def _lists(config: Config) -> Iterator[ConfigProblem]:
    gain = config.augment.gain
    if len(gain) == 2 and gain[0] > gain[1]:
        yield ConfigProblem("augment.gain", f"must be the smallest factor, then the largest, not {gain}")
    averages = config.averages
    for key, decays in (("per_batch", averages.per_batch), ("per_epoch", averages.per_epoch)):
        if len(set(decays)) != len(decays):
            yield ConfigProblem(f"averages.{key}", f"must be distinct decays, not {decays}")


def _machine(config: Config) -> Iterator[ConfigProblem]:
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        yield ConfigProblem("device", "no CUDA device is available; use cpu, or null to choose automatically")
    elif config.precision == "fp16" and (config.device == "cpu" or not cuda):
        yield ConfigProblem("precision", "fp16 needs a CUDA device; on a CPU, choose no or bf16")
