"""What a user may give as a model: a registered name, a file, a folder, or a repository on the hub."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hdemucs.errors import DownloadError, UnknownModelError
from hdemucs.pretrained.cache import download, hub_output
from hdemucs.pretrained.registry import Card, cards, get_card

if TYPE_CHECKING:
    from hdemucs.model import Model

MODEL_SUFFIXES = (".safetensors", ".th", ".pt")
HUB = "hf://"


def load_model(spec: str | os.PathLike[str]) -> Model:
    """The model that `spec` means, in eval mode, downloaded first where it has to be.

    A string is a registered name, the path of a file or of a folder with one model in it, or
    `hf://user/repo` with an optional `@revision`. A registered name wins over a file of that name, which
    `./name` reaches; a `Path` is always a path. `model.name` is a short name, fit for a folder.
    Raises `UnknownModelError`, `DownloadError`, or `CheckpointError` from reading the file.
    """
    if not isinstance(spec, str):
        return _load_path(Path(spec))
    if spec.startswith(HUB):
        return _load_hub(spec)
    if spec not in {card.name for card in cards()} and _is_path(spec):
        return _load_path(Path(spec))
    return _load_registered(get_card(spec))


def _is_path(spec: str) -> bool:
    looks_like_one = "/" in spec or os.sep in spec or spec.startswith((".", "~"))
    if looks_like_one or spec.endswith((*MODEL_SUFFIXES, ".yaml")):
        return True
    with contextlib.suppress(OSError):
        return Path(spec).exists()
    return False


def _load_registered(card: Card) -> Model:
    from hdemucs.checkpoint import load

    models: list[Any] = [load(path) for path in download(card)]
    model = models[0]
    if len(models) > 1:
        from hdemucs.model import Bag

        model = Bag(models, card.weights, card.segment).eval()
    elif card.segment is not None:
        model.segment = card.segment
    return _named(model, card.name)


def _load_path(path: Path) -> Model:
    from hdemucs.checkpoint import load

    try:
        file = path.expanduser()
        file = _only_model(file) if file.is_dir() else file
        found = file.is_file()
    # RuntimeError: the home folder of a user who does not exist.
    except (OSError, RuntimeError) as error:
        raise UnknownModelError(f"Model {path} cannot be read: {_line(error)}") from error
    if not found:
        raise UnknownModelError(f"No model file {path}; `hdemucs models` lists the names that need no file")
    return _named(load(file), file.stem)


def _load_hub(spec: str) -> Model:
    from hdemucs.checkpoint import load

    match = re.fullmatch(r"([\w.-]+)/([\w.-]+)(?:@(.+))?", spec.removeprefix(HUB))
    if match is None:
        raise UnknownModelError(
            f"{spec} is no model on the hub; write hf://user/repo or hf://user/repo@revision"
        )
    user, repo, revision = match.groups()
    folder = _snapshot(spec, f"{user}/{repo}", revision)
    return _named(load(_only_model(folder)), f"{user}_{repo}")


def _snapshot(spec: str, repo_id: str, revision: str | None) -> Path:
    """Download what can belong to a model in a repository of the hub; the folder that it is in."""
    from huggingface_hub import errors, snapshot_download

    # Pickles from strangers are left on the hub: a repository for this library has safetensors.
    patterns = ["*.safetensors", "*.yaml", "*.json"]
    try:
        with hub_output(progress=True):
            return Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{spec} asks for an account: accept its terms and run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(
            f"{spec} does not exist, or is private: then run `hf auth login` first"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{spec}: the repository {repo_id} has no revision {revision}") from error
    except errors.HFValidationError as error:
        raise UnknownModelError(f"{spec} is no model on the hub: {_line(error)}") from error
    except errors.LocalEntryNotFoundError as error:
        raise DownloadError(
            f"Cannot download {spec}: the hub cannot be reached, or HF_HUB_OFFLINE is set, "
            "and there is no copy in the cache; try again when online"
        ) from error
    # Not only OSError: each major version of huggingface_hub brought another HTTP library.
    except Exception as error:
        raise DownloadError(
            f"Cannot download {spec}: {_line(error)}; what has arrived is kept, try again"
        ) from error


def _only_model(folder: Path) -> Path:
    """The one model in a folder: its bag definition if it has one, or else its model file."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    found = [path for path in files if path.suffix == ".yaml" and _is_bag(path)]
    found = found or [path for path in files if path.suffix in MODEL_SUFFIXES]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or f"no .yaml bag and no {', '.join(MODEL_SUFFIXES)}"
        raise UnknownModelError(
            f"{folder} must hold one model, but has {names}; give the path of a model file"
        )
    return found[0]


def _is_bag(path: Path) -> bool:
    """Whether a YAML file lists models; a broken one counts, so that loading it says what is wrong."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return True
    return isinstance(data, dict) and "models" in data


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _named(model: Model, name: str) -> Model:
    model.name = name
    return model
