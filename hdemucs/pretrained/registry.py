"""The registry: one YAML data card for each named model, read into frozen dataclasses."""

from __future__ import annotations

import difflib
import functools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from hdemucs.errors import HDemucsError, UnknownModelError

DEFAULT_MODEL = "hdemucs_small"
"""The model that ships: separating needs no network."""

BEST_MODEL = "hdemucs_mmi"
"""The single model of the highest published SDR."""

HERE = Path(__file__).parent
CARDS = HERE / "cards"
SHIPPED = "package:"
"""Instead of a web address, before the path of a file that is in this package."""

# Names that users of demucs will try, each with the registered model that comes closest to it.
UNSUPPORTED = {
    "mdx_q": ("quantised models", "mdx"),
    "mdx_extra_q": ("quantised models", "mdx_extra"),
    "htdemucs": ("Hybrid Transformer models", BEST_MODEL),
    "htdemucs_ft": ("Hybrid Transformer models", BEST_MODEL),
    "htdemucs_6s": ("Hybrid Transformer models", BEST_MODEL),
}


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: where it is published, how to recognise it, where the cache keeps it.

    `url` is a web address, or `package:` and a path for a file that ships with hdemucs, beside the cards.
    `sha256` holds as many leading hex digits of the SHA-256 as are known, 8 at least; None where none is
    known, and then the file cannot be verified. `size` is in bytes. `folder` is relative to torch.hub's
    folder; the default is where `torch.hub.load_state_dict_from_url`, and so demucs, puts its files.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    folder: str = "checkpoints"

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://", SHIPPED)):
            raise ValueError(f"{self.url!r} is not a web address")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{8,64}", self.sha256):
            raise ValueError(f"sha256 of {self.name} must be 8 to 64 lower-case hex digits, quoted")

    @property
    def name(self) -> str:
        """The file's name, on the server and in the cache."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def shipped(self) -> Path | None:
        """Where the file is if it ships with hdemucs."""
        return HERE / self.url.removeprefix(SHIPPED) if self.url.startswith(SHIPPED) else None


@dataclass(frozen=True)
class Score:
    """A published SDR, in dB: on which data, where it was published, over all sources and for each.

    `overall` and `sources` are empty where the publication gives only the other.
    """

    data: str
    where: str
    overall: float | None = None
    sources: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Card:
    """What is known of a registered model.

    `weights` has a row for each file and a column for each source; None averages the members of a bag
    equally. `segment` is in seconds; None leaves the models their own. `published` lists scores from
    others; it is empty where none could be found.
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
    weights: tuple[tuple[float, ...], ...] | None = None
    published: tuple[Score, ...] = ()

    def __post_init__(self) -> None:
        if not self.files or not self.sources:
            raise ValueError("files and sources must not be empty")
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
                raise ValueError(f"weights of {source} must be positive for one file at least")

    @property
    def size(self) -> int | None:
        """Bytes to download in all; None where the size of a file is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def shipped(self) -> bool:
        """Whether the model is part of hdemucs, so that nothing has to be downloaded."""
        return all(file.shipped is not None for file in self.files)

    @property
    def verifiable(self) -> bool:
        """Whether a checksum is known for every file."""
        return all(file.sha256 is not None for file in self.files)


def read_card(path: Path) -> Card:
    """Read one data card; the name of the file is the name of the model.

    Raises `HDemucsError`, naming the card, for unknown or missing keys, wrong types and contradictions.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "name" not in data:
            data["name"] = path.stem
        card: Card = _parse(data, Card, "card")
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise HDemucsError(f"Model card {path} cannot be used: {reason}") from error
    if card.name != path.stem:
        raise HDemucsError(f"Model card {path} cannot be used: its file name and its name {card.name} differ")
    return card


def _parse(value: Any, kind: Any, where: str) -> Any:
    """Check `value`, as YAML gives it, against the type `kind`, and turn lists and mappings into it."""
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
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    hints = typing.get_type_hints(kind)
    return kind(**{key: _parse(item, hints[key], f"{where}.{key}") for key, item in value.items()})


@functools.cache
def _registry() -> Mapping[str, Card]:
    found = [read_card(path) for path in sorted(CARDS.glob("*.yaml"))]
    return {card.name: card for card in sorted(found, key=lambda card: not card.shipped)}


def cards() -> list[Card]:
    """All registered models: those that ship, then the others, by name."""
    return list(_registry().values())


def get_card(name: str) -> Card:
    """The card of a registered model.

    Raises `UnknownModelError` with the nearest names for any other name, and with the closest model that
    can be used for models of demucs that this library does not have.
    """
    registry = _registry()
    if name in registry:
        return registry[name]
    if name in UNSUPPORTED:
        kind, closest = UNSUPPORTED[name]
        raise UnknownModelError(
            f"Model {name} is not supported: {kind} cannot be read yet; the closest model is {closest}"
        )
    near = difflib.get_close_matches(name.lower(), registry, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UnknownModelError(f"No model is named {name!r}; {hint}`hdemucs models` lists all {len(registry)}")
