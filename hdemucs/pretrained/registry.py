"""Registry of named models: one YAML file per model in `cards/`, read into frozen dataclasses."""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from hdemucs.errors import HDemucsError, UnknownModelError, one_line
from hdemucs.suggest import hint

DEFAULT_MODEL = "hdemucs_small"
"""Model that ships with hdemucs, so that separating needs no network."""

BEST_MODEL = "htdemucs"
"""Model with the highest published SDR, bags excluded."""

HERE = Path(__file__).parent
CARDS = HERE / "cards"
SHIPPED = "package:"
"""Prefix of `ModelFile.url` for a path in this package instead of a web address."""
MUSDB_TEST = "MusDB-HQ test set"
"""Name of the data set in `Score.data` whose scores can be compared between models."""

# Models of demucs that cannot be loaded: their kind, and the registered model that comes closest.
UNSUPPORTED = {
    "mdx_q": ("quantised models", "mdx"),
    "mdx_extra_q": ("quantised models", "mdx_extra"),
}


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    Attributes:
        url: Web address, or `package:` and a path for a file that ships with hdemucs.
        sha256: At least the first 8 hexadecimal digits of the SHA-256; None if unknown, so that the file
            cannot be verified.
        size: Size in bytes; None if unknown.
        folder: Folder of the file, relative to torch.hub's. The default is that of
            `torch.hub.load_state_dict_from_url`, which demucs uses too.

    Raises:
        ValueError: The address or the checksum is malformed.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    folder: str = "checkpoints"

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://", SHIPPED)):
            raise ValueError(f"{self.url!r} is not a web address")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{8,64}", self.sha256):
            raise ValueError(f"sha256 of {self.name} must be 8 to 64 lower-case hexadecimal digits in quotes")

    @property
    def name(self) -> str:
        """Name of the file, on the server and in the cache."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def shipped(self) -> Path | None:
        """Path of the file if it ships with hdemucs; None if it has to be downloaded."""
        return HERE / self.url.removeprefix(SHIPPED) if self.url.startswith(SHIPPED) else None


@dataclass(frozen=True)
class Score:
    """A published SDR.

    Attributes:
        data: Data set that the score was measured on.
        where: Publication that states the score.
        overall: Mean over all sources in dB; None if not published.
        sources: SDR of each source in dB; None if not published.
    """

    data: str
    where: str
    overall: float | None = None
    sources: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Card:
    """Everything known about a registered model.

    Attributes:
        name: Name of the model, and of the card's file.
        summary: Description of one line for `hdemucs models`.
        sources: Sources that the model separates, in the order of its outputs.
        sample_rate: Sample rate in Hz.
        files: Files of the model; if there are several, they are the members of a bag.
        training_data: Songs that the model was trained on.
        licence: Terms under which the weights may be used.
        terms: The same in a word or two, for tables.
        paper: Address of the paper.
        homepage: Address of the project.
        segment: Segment in seconds; None for the one in the files.
        file_sources: Names of the sources in the files, in the order of `sources`; None if they are the same.
        weights: Weights of a bag `[files, sources]`; None weights all members equally.
        published: Published scores; empty if none are known.

    Raises:
        ValueError: The fields contradict one another.
    """

    name: str
    summary: str
    sources: tuple[str, ...]
    sample_rate: int
    files: tuple[ModelFile, ...]
    training_data: str
    licence: str
    paper: str
    homepage: str
    segment: float | None = None
    file_sources: tuple[str, ...] | None = None
    weights: tuple[tuple[float, ...], ...] | None = None
    published: tuple[Score, ...] = ()
    terms: str = ""

    def __post_init__(self) -> None:
        if not self.files or not self.sources:
            raise ValueError("files and sources must not be empty")
        if self.file_sources is not None and len(self.file_sources) != len(self.sources):
            raise ValueError(f"file_sources must have {len(self.sources)} names, one per source")
        if self.weights is not None:
            self._check_weights(self.weights)
        for score in self.published:
            if strange := set(score.sources or ()) - set(self.sources):
                raise ValueError(f"published scores of unknown sources {', '.join(sorted(strange))}")

    def _check_weights(self, weights: tuple[tuple[float, ...], ...]) -> None:
        if len(weights) != len(self.files) or any(len(row) != len(self.sources) for row in weights):
            raise ValueError(f"weights must have {len(self.files)} rows of {len(self.sources)} numbers")
        for source, column in zip(self.sources, zip(*weights, strict=True), strict=True):
            if min(column) < 0 or max(column) == 0:
                raise ValueError(f"weights of {source} must not be negative, and not all zero")

    @property
    def size(self) -> int | None:
        """Size of all files in bytes; None if that of any file is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def shipped(self) -> bool:
        """Whether all files ship with hdemucs, so that nothing has to be downloaded."""
        return all(file.shipped is not None for file in self.files)

    @property
    def musdb_sdr(self) -> float | None:
        """Published SDR on MusDB-HQ's test set in dB, over all sources; None if none is known."""
        return next((score.overall for score in self.published if score.data == MUSDB_TEST), None)

    def musdb_sdr_of(self, source: str) -> float | None:
        """Published SDR of one source on MusDB-HQ's test set in dB; None if none is known."""
        scores = [score.sources or {} for score in self.published if score.data == MUSDB_TEST]
        return next((score[source] for score in scores if source in score), None)


def read_card(path: Path) -> Card:
    """Read the card of a model from `NAME.yaml`.

    Raises:
        HDemucsError: The file is not a card: unknown or missing keys, wrong types, or contradictions.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "name" not in data:
            data["name"] = path.stem
        card: Card = _parse(data, Card, "card")
    # A whole number may be too large for float, and lists nested too deeply for Python's stack.
    except (OSError, ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise HDemucsError(f"model card {path} is invalid: {one_line(error)}") from error
    if card.name != path.stem:
        raise HDemucsError(f"model card {path} is invalid: its name {card.name} differs from its file name")
    return card


def _parse(value: Any, kind: Any, where: str) -> Any:
    """Check a value read from YAML against the type `kind`, and convert lists and mappings to it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _parse_dataclass(value, kind, where)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _parse(value, arguments[0], where)
    if origin is tuple and isinstance(value, list):
        return tuple(_parse(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {_parse(k, str, where): _parse(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} must be {getattr(kind, '__name__', kind)}, not {value!r}")
    return value


def _parse_dataclass(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping, not {value!r}")
    known = {field.name: field for field in fields(kind)}
    if unknown := set(value) - set(known):
        raise ValueError(f"{where} has unknown keys: {', '.join(map(str, unknown))}")
    if missing := [key for key, f in known.items() if f.default is MISSING and key not in value]:
        raise ValueError(f"{where} has no {', '.join(missing)}")
    hints = typing.get_type_hints(kind)
    return kind(**{key: _parse(item, hints[key], f"{where}.{key}") for key, item in value.items()})


@functools.cache
def registry() -> Mapping[str, Card]:
    """Cards of all models by name, those that ship with hdemucs first."""
    found = [read_card(path) for path in sorted(CARDS.glob("*.yaml"))]
    return {card.name: card for card in sorted(found, key=lambda card: not card.shipped)}


def cards() -> list[Card]:
    """Cards of all models: those that ship with hdemucs first, each group sorted by name."""
    return list(registry().values())


def get_card(name: str) -> Card:
    """Card of a registered model.

    Raises:
        UnknownModelError: No model has this name. The message suggests the most similar name or, for a model
            of demucs that this library cannot load, the registered model that comes closest.
    """
    known = registry()
    if name in known:
        return known[name]
    if name in UNSUPPORTED:
        kind, closest = UNSUPPORTED[name]
        raise UnknownModelError(f"{name} is not supported: {kind} cannot be loaded; use {closest} instead")
    remedy = hint(name, known) or f"; `hdemucs models` lists all {len(known)}"
    raise UnknownModelError(f"there is no model named {name!r}{remedy}")
