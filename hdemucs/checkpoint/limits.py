"""Limits on what a model file may contain: plain values, YAML and tensors.

A file of a few hundred bytes can describe numbers that take gigabytes, nested lists of shared elements that
no memory could hold written out, and tensors larger than their storage. Everything read from a file passes
through here before it is used, compared or shown in a message.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from hdemucs.errors import CheckpointError, one_line

MAX_VALUES = 20_000
"""Numbers and strings in the settings of a model, each counted as often as it would be written out."""
MAX_DEPTH = 32
MAX_TEXT = 10_000
MAX_DIGITS = 18
MAX_TENSORS = 100_000
MAX_YAML_BYTES = 1 << 20


def check_plain(value: Any) -> Any:
    """Return `value` if it consists of plain values of reasonable size.

    Plain values are None, booleans, numbers of at most 18 digits, strings, fractions, lists, tuples, and
    dictionaries whose keys are strings or whole numbers.

    Raises:
        CheckpointError: It contains anything else.
    """
    for count, _ in enumerate(_walk(value, 0)):
        if count >= MAX_VALUES:
            raise CheckpointError("its settings hold far more values than any model has")
    return value


def _walk(value: Any, depth: int) -> Iterator[None]:
    if depth > MAX_DEPTH:
        raise CheckpointError("its settings are nested deeper than those of any model")
    yield
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str | int):
                raise CheckpointError(f"its settings have a key of type {type(key).__name__}")
            yield from _walk(key, depth + 1)
            yield from _walk(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item, depth + 1)
    elif isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise CheckpointError(f"its settings hold a string of {len(value)} characters")
    elif isinstance(value, int | Fraction):
        if max(abs(value.numerator), value.denominator) >= 10**MAX_DIGITS:
            raise CheckpointError(f"its settings hold a number of more than {MAX_DIGITS} digits")
    elif value is not None and not isinstance(value, float):
        raise CheckpointError(f"its settings hold a value of type {type(value).__name__}")


def fraction(numerator: Any, denominator: Any = 1) -> Fraction:
    """Build a fraction from whole numbers of at most 18 digits, or from a string such as `39/5`.

    `Fraction` itself accepts `1e3000000000` and computes for hours.

    Raises:
        CheckpointError: The arguments are neither, or the denominator is 0.
    """
    if isinstance(numerator, str) and denominator == 1:
        numerator, _, below = numerator.partition("/")
        denominator = below or "1"
        if not all(part.isdecimal() and len(part) <= MAX_DIGITS for part in (numerator, denominator)):
            raise CheckpointError("its settings hold a fraction whose terms are not whole numbers")
        numerator, denominator = int(numerator), int(denominator)
    for part in (numerator, denominator):
        if not isinstance(part, int) or isinstance(part, bool) or abs(part) >= 10**MAX_DIGITS:
            raise CheckpointError("its settings hold a fraction whose terms are not whole numbers")
    if denominator == 0:
        raise CheckpointError("its settings hold a fraction with the denominator 0")
    return Fraction(numerator, denominator)


class _PlainLoader(yaml.SafeLoader):
    """Loads YAML without aliases: no bag needs them, and they let a few lines expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        CheckpointError: The file is too large, is not valid YAML, or contains other values.
        OSError: The file cannot be read.
    """
    if path.stat().st_size > MAX_YAML_BYTES:
        raise CheckpointError(f"it is larger than {MAX_YAML_BYTES} bytes, which no bag of models is")
    text = path.read_bytes()
    try:
        return check_plain(yaml.load(text.decode(), _PlainLoader))
    except CheckpointError:
        raise
    except Exception as error:  # PyYAML lets through whatever converting a date or a number raises
        raise CheckpointError(f"it is not valid YAML ({one_line(error)})") from error


def check_tensors(state: object) -> dict[str, Tensor]:
    """Return `state` if it is a dictionary of ordinary tensors by name.

    An ordinary tensor is dense and in main memory, and its storage has room for each of its values.

    Raises:
        CheckpointError: It is anything else.
    """
    if not isinstance(state, dict) or not state:
        raise CheckpointError("it does not hold weights by name; it is not a model file")
    if len(state) > MAX_TENSORS:
        raise CheckpointError(f"it holds {len(state)} tensors, which no model has")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            shown = name[:60] if isinstance(name, str) else type(name).__name__
            raise CheckpointError(f"its entry {shown!r} is not a tensor with a name; it is not a model file")
        ordinary = value.layout == torch.strided and value.device.type == "cpu" and not value.is_nested
        if not ordinary or value.is_quantized or value.numel() > _room(value):
            raise CheckpointError(f"its {name[:60]} is not an ordinary tensor with all its values stored")
    return state


def _room(value: Tensor) -> float:
    """Number of values that the storage of a tensor has room for."""
    return value.untyped_storage().nbytes() / max(1, value.element_size()) if value.numel() else math.inf
