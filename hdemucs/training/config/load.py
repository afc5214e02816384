"""Reads a configuration from YAML and `key=value` overrides, checks it as a whole, and writes it back."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from hdemucs.errors import TrainingError, one_line
from hdemucs.suggest import hint
from hdemucs.training.config.checks import problems_of
from hdemucs.training.config.published import config_names, configs_folder
from hdemucs.training.config.schema import Config, leaves, type_in_words


def load_config(config: str, overrides: Sequence[str] = ()) -> Config:
    """Load a configuration, fill in the defaults and check it.

    Args:
        config: Name of a file in `configs/`, without its suffix, or path of a YAML file.
        overrides: Settings, each `key=value` with a dotted key and a YAML value; later ones win. Mappings
            (`model`, `loss.weights`) gain the given keys, lists are replaced, and null empties either.

    Returns:
        The configuration; the paths in `data` are absolute, and `model` has an architecture unless `init` is
        given.

    Raises:
        TrainingError: The configuration has mistakes; the message lists all of them, one per line.
    """
    path = _find(config)
    reader = _Reader()
    reader.merge(_read(path), str(path))
    for override in overrides:
        reader.override(override)
    return reader.finish(str(path))


def dump(config: Config) -> str:
    """Write a configuration as YAML with all keys; `load_config` reads it back unchanged."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _find(config: str) -> Path:
    names = config_names()
    if config in names:
        return configs_folder() / f"{config}.yaml"
    path = Path(config).expanduser()
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise TrainingError(f"{config}: no such file; the named configurations are {', '.join(names)}")
    raise TrainingError(
        f"{config} is neither a named configuration ({', '.join(names)}) nor a file{hint(config, names)}"
    )


def _read(path: Path) -> Mapping[Any, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {_reason(error)}") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise TrainingError(f"{path} is not valid YAML: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} must consist of keys and values, as in `epochs: 10`")
    return content


class _Reader:
    """Collects values, the place where each was set, and the first mistake of each key."""

    def __init__(self) -> None:
        self.schema = Config()
        self.tree = OmegaConf.structured(Config)
        self.names = [name for name, _, _ in leaves(self.schema)]
        self.names += [item.name for item in fields(Config) if item.name not in self.names]
        self.places: dict[str, str] = {}
        self.mistakes: dict[str, str] = {}

    def override(self, text: str) -> None:
        """Apply one `key=value`."""
        name, equals, _ = text.partition("=")
        if not equals or not all(name.split(".")):
            self.mistakes[text] = f"{text}: must be key=value"
            return
        try:
            content = OmegaConf.to_container(OmegaConf.from_dotlist([text]))
        except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
            self.mistakes[text] = f"{text}: is not valid YAML: {_reason(error)}"
            return
        assert isinstance(content, dict)
        self.merge(content, text)

    def merge(self, given: Mapping[Any, Any], place: str, section: Any = None, prefix: str = "") -> None:
        """Apply all keys of a mapping.

        Args:
            given: Keys and their values.
            place: Where they were set, for messages: a file or an override.
            section: Section of the schema that the mapping belongs to; None for the whole schema.
            prefix: Dotted key of that section, with a final dot.
        """
        section = self.schema if section is None else section
        items = {item.name: item for item in fields(section)}
        for name, value in given.items():
            # Dotted keys are allowed in a file, too: `optimizer.lr: 1`.
            name, _, rest = str(name).partition(".")
            value = {rest: value} if rest else value
            key = prefix + name
            self.places[key] = place
            if name not in items:
                near = hint(key, self.names) or f"; the keys here are {', '.join(items)}"
                self._wrong(key, f"is not a key{near}")
            elif not is_dataclass(getattr(section, name)):
                self._set(key, items[name], value)
            elif isinstance(value, Mapping):
                self.merge(value, place, getattr(section, name), f"{key}.")
            # A heading with nothing below it is null in YAML, and sets nothing.
            elif value is not None:
                self._wrong(
                    key, f"is a section with keys such as {key}.{fields(getattr(section, name))[0].name}"
                )

    def _wrong(self, key: str, what: str) -> None:
        if key not in self.mistakes:
            # The place where the key itself was set, or else the mapping that contains it.
            place = next((self.places[part] for part in _with_parents(key) if part in self.places), "")
            says_key = place.startswith(f"{key}=")
            self.mistakes[key] = ": ".join([part for part in (place, not says_key and key, what) if part])

    def _set(self, key: str, item: Field, value: Any) -> None:
        value = _as_intended(item.type, value)
        if isinstance(value, Mapping):
            self.places |= {f"{key}.{name}": self.places[key] for name in value}
        try:
            # Merging keeps the keys of a mapping that are not given; null and {} empty it.
            OmegaConf.update(self.tree, key, value, merge=bool(value))
        except OmegaConfBaseException:
            near = hint(str(value), get_args(item.type)) if get_origin(item.type) is Literal else ""
            self._wrong(key, f"must be {type_in_words(item.type)}, not {value!r}{near}")

    def finish(self, path: str) -> Config:
        """Return the checked configuration, or raise TrainingError with all mistakes."""
        for key, _, default in leaves(self.schema):
            try:
                value = OmegaConf.select(self.tree, key, throw_on_missing=True)
                if OmegaConf.is_config(value):
                    OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
            except MissingMandatoryValue:
                self._wrong(key, "must be given")
                OmegaConf.update(self.tree, key, default)
            except OmegaConfBaseException as error:
                self._wrong(key, f"cannot be resolved: {_reason(error)}")
                OmegaConf.update(self.tree, key, default)
        config = OmegaConf.to_object(self.tree)
        assert isinstance(config, Config)
        config.data = [_absolute(folder) for folder in config.data]
        if not config.init:
            config.model = {"architecture": "HDemucs", **config.model}
        for key, what in problems_of(config):
            self._wrong(key, what)
        if len(self.mistakes) > 1:
            lines = [f"{path}: {len(self.mistakes)} mistakes in the configuration", *self.mistakes.values()]
            raise TrainingError("\n  ".join(lines))
        if self.mistakes:
            raise TrainingError(*self.mistakes.values())
        return config


def _reason(error: Exception) -> str:
    """A library's error message on one line, without details meant for developers."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return one_line(ValueError(str(error).partition("\n")[0]))


def _absolute(folder: str) -> str:
    path = Path(folder)
    # Raised for `~name` if there is no such user.
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return str(path.absolute())


def _with_parents(key: str) -> list[str]:
    """A dotted key followed by its parents: `a.b.c`, `a.b`, `a`."""
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _as_intended(annotation: Any, value: Any) -> Any:
    """Convert a value read by YAML to what the user meant.

    A single name becomes a list, null becomes an empty mapping or list, and false becomes the word `no` where
    that is a choice, since YAML reads `no` as false.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(value, str | int) and value != "???" and list[str] in (annotation, *arguments):
        return [value]
    if value is None and origin in (list, dict):
        return origin()
    if value is False and origin is Literal and "no" in arguments:
        return "no"
    return value
