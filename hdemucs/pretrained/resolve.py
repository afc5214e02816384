"""Loading models by registered name, by file or folder, or by repository on the Hugging Face Hub."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdemucs.errors import CheckpointError, DownloadError, OptionError, UnknownModelError, one_line
from hdemucs.pretrained.cache import download, hub_output
from hdemucs.pretrained.registry import Card, cards, get_card

if TYPE_CHECKING:
    from hdemucs.model import Bag, Model, Network

MODEL_SUFFIXES = (".safetensors", ".th", ".pt")
HUB = "hf://"
_BEST = "best.safetensors"
"""Best model of a training run; `hdemucs.training.run.Run` describes the other files in a run's folder."""


def load_model(spec: str | os.PathLike[str], *, sources: Sequence[str] | None = None) -> Model:
    """Load a model, downloading its files first if necessary.

    Args:
        spec: Which model. A string is a registered name, the path of a model file, of a folder with one model
            in it or of a training run, or `hf://user/repo` with an optional `@revision`; a registered name
            takes precedence over a file of that name, which can be given as `./name`. A `Path` is always a
            file or folder.
        sources: Sources that are needed, None for all: a registered bag then consists only of the members
            that have weight for them, the others are not downloaded, and it separates nothing else.

    Returns:
        The model, in evaluation mode. Its `name` is short and can serve as the name of a folder.

    Raises:
        UnknownModelError: There is no such model.
        DownloadError: The model cannot be downloaded.
        CheckpointError: A file of the model is damaged or unsafe.
        OptionError: A registered bag does not have one of the sources.
    """
    if not isinstance(spec, str):
        return _load_path(Path(spec))
    if spec.startswith(HUB):
        return _load_hub(spec)
    if spec not in {card.name for card in cards()} and _is_path(spec):
        return _load_path(Path(spec))
    return _load_registered(get_card(spec), sources)


def model_name(model: Model) -> str:
    """Name of a model that `load_model` loaded; "model" for one that was built in Python."""
    return model.name or "model"


def _is_path(spec: str) -> bool:
    looks_like_one = "/" in spec or os.sep in spec or spec.startswith((".", "~"))
    if looks_like_one or spec.endswith((*MODEL_SUFFIXES, ".yaml")):
        return True
    with contextlib.suppress(OSError):
        return Path(spec).exists()
    return False


def _load_registered(card: Card, sources: Sequence[str] | None) -> Model:
    if len(card.files) > 1:
        return _named(_load_bag(card, sources), card.name)
    model = _load_network(card, download(card)[0])
    if card.segment is not None:
        model.segment = card.segment
    return _named(model, card.name)


def _load_bag(card: Card, sources: Sequence[str] | None) -> Bag:
    from hdemucs.model import Bag

    wanted = card.sources if sources is None else sources
    if unknown := [source for source in wanted if source not in card.sources]:
        names = ", ".join(map(str, unknown))
        raise OptionError(f"the model has no stem {names}; choose from {', '.join(card.sources)}")
    sources = [source for source in card.sources if source in wanted]
    table = card.weights or [[1.0] * len(card.sources)] * len(card.files)
    indexes = [card.sources.index(source) for source in sources]
    needed = [number for number, row in enumerate(table) if any(row[index] for index in indexes)]
    paths = download(card, [card.files[number] for number in needed])
    members = [_load_network(card, path) for path in paths]
    return Bag(members, [table[number] for number in needed], card.segment, sources).eval()


def _load_network(card: Card, path: Path) -> Network:
    from hdemucs.checkpoint import load

    network: Any = load(path)
    if card.file_sources is not None:
        if tuple(network.sources) != card.file_sources:
            found, expected = ", ".join(network.sources), ", ".join(card.file_sources)
            raise CheckpointError(f"{path}: its sources are {found}, not {expected}; download it again")
        network.config = replace(network.config, sources=card.sources)
    loaded: Network = network
    return loaded


def _load_path(path: Path) -> Model:
    try:
        file = path.expanduser()
        file = _only_model(file) if file.is_dir() else _by_signature(file)
        found = file.is_file()
    # `expanduser` raises RuntimeError for the home folder of an unknown user.
    except (OSError, RuntimeError) as error:
        raise UnknownModelError(f"model {path} cannot be read: {one_line(error)}") from error
    if not found:
        raise UnknownModelError(f"{path} does not exist; `hdemucs models` lists the models that need no file")
    from hdemucs.checkpoint import load

    return _named(load(file), _file_name(file))


def _file_name(file: Path) -> str:
    """Name of a model file without its suffix. The best model of a training run is named after the run."""
    return file.resolve().parent.name if file.name == _BEST and _is_run(file.parent) else file.stem


def _is_run(folder: Path) -> bool:
    return (folder / "initial.safetensors").is_file()


def _load_hub(spec: str) -> Model:
    match = re.fullmatch(r"([\w.-]+)/([\w.-]+)(?:@(.+))?", spec.removeprefix(HUB))
    if match is None:
        raise UnknownModelError(
            f"{spec} is not a repository on the hub; write hf://user/repo or hf://user/repo@revision"
        )
    user, repo, revision = match.groups()
    file = _only_model(_snapshot(spec, f"{user}/{repo}", revision))
    from hdemucs.checkpoint import load

    return _named(load(file), f"{user}_{repo}")


def _snapshot(spec: str, repo_id: str, revision: str | None) -> Path:
    """Download the files of a repository on the hub that can belong to a model, and return their folder."""
    from huggingface_hub import errors, snapshot_download

    # Pickles from strangers are not downloaded: a repository for this library has safetensors.
    patterns = ["*.safetensors", "*.yaml", "*.json"]
    try:
        with hub_output(progress=True):
            return Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{spec} requires an account: accept its terms on the hub and run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(
            f"{spec} does not exist, or is private; if it is private, run `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{spec}: the repository {repo_id} has no revision {revision}") from error
    except errors.HFValidationError as error:
        raise UnknownModelError(f"{spec} is not a repository on the hub: {one_line(error)}") from error
    except errors.LocalEntryNotFoundError as error:
        raise DownloadError(
            f"cannot download {spec}: it is not in the cache, and the hub cannot be reached, or "
            "HF_HUB_OFFLINE is set; try again when online"
        ) from error
    # Not only OSError: each major version of huggingface_hub uses another HTTP library.
    except Exception as error:
        raise DownloadError(
            f"cannot download {spec}: {one_line(error)}; try again, what has arrived is kept"
        ) from error


def _only_model(folder: Path) -> Path:
    """File of the only model in a folder: the best model of a training run, a bag's YAML file, or a model."""
    if _is_run(folder):
        if (folder / _BEST).is_file():
            return folder / _BEST
        raise UnknownModelError(
            f"{folder} is a training run without a best model yet: train it to the end of an epoch first"
        )
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    found = [path for path in files if path.suffix == ".yaml" and _is_bag(path)]
    found = found or [path for path in files if path.suffix in MODEL_SUFFIXES]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or f"no .yaml bag and no {', '.join(MODEL_SUFFIXES)}"
        raise UnknownModelError(
            f"{folder} must contain one model, but has {names}; give the path of a model file"
        )
    return found[0]


def _by_signature(path: Path) -> Path:
    """File that demucs finds in the folder of `path` by this name or signature; `path` if there is none."""
    if not path.exists():
        bags = [path.with_name(f"{path.name}.yaml")]
        packages = sorted(path.parent.glob(f"{glob.escape(path.name)}-*.th"))
        found = [file for file in (*bags, *packages, path.with_name(f"{path.name}.th")) if file.is_file()]
        if found:
            return found[0]
    return path


def _is_bag(path: Path) -> bool:
    """Whether a YAML file lists the models of a bag; invalid YAML counts, so that loading it reports it."""
    from hdemucs.checkpoint.limits import read_yaml

    try:
        data = read_yaml(path)
    except (OSError, CheckpointError):
        return True
    return isinstance(data, dict) and "models" in data


def _named(model: Model, name: str) -> Model:
    model.name = name
    return model
