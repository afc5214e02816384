"""Model files: this library's own, and those that other packages publish.

This library's format is a single safetensors file. Its metadata has a JSON object under the key `hdemucs`:
`format` (1), `architecture`, `arguments` (all settings of the network) and `provenance`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from hdemucs.checkpoint.build import build
from hdemucs.checkpoint.importers import demucs, torchaudio
from hdemucs.checkpoint.limits import check_plain, check_tensors, read_yaml
from hdemucs.checkpoint.pickles import ClassName, read_pickle
from hdemucs.errors import CheckpointError, one_line
from hdemucs.files import sha256, write_whole
from hdemucs.model import Bag, Model, Network

FORMAT = 1
KEY = "hdemucs"


def save(
    model: nn.Module | torchaudio.Bundle,
    path: str | Path,
    *,
    half: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a model as one safetensors file that `load` and `hdemucs separate --model` accept.

    Args:
        model: Network to write, or an `HDemucs` or a bundle of torchaudio. A bag cannot be written: save its
            members one by one.
        path: File to write; it appears only when it is complete.
        half: Whether to store weights in float16: half the size, for a difference far below audibility.
        provenance: Where the weights come from, by keys and values of any kind that JSON can hold.

    Raises:
        CheckpointError: It is not a network, or a model of torchaudio that ours cannot be; see `as_model`.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    model = as_model(model)
    if isinstance(model, Bag):
        raise CheckpointError("a bag of models does not fit in one file; save each of its models")
    dtype = torch.float16 if half else torch.float32
    state = {name: value.detach().cpu().to(dtype).contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "architecture": type(model).__name__,
        "arguments": model.config.as_dict(),
        "provenance": dict(provenance or {}),
    }
    # Not safetensors' own function for files, which makes them unreadable to other users.
    write_whole(path, to_bytes(state, metadata={KEY: json.dumps(metadata)}))


def as_model(model: Model | nn.Module | torchaudio.Bundle) -> Model:
    """A model in memory as one of this library's: models of torchaudio are converted, others are kept.

    Args:
        model: A network or a bag; an `HDemucs` of torchaudio; or a bundle of `torchaudio.pipelines`, whose
            weights torchaudio downloads now unless they are in torch.hub's cache.

    Raises:
        CheckpointError: It is not a model, or a model of torchaudio with settings that ours does not have, or
            torchaudio cannot load the weights of its bundle.
    """
    if isinstance(model, Network | Bag):
        return model
    converted = torchaudio.as_network(model)
    if converted is None:
        kind = type(model).__name__
        raise CheckpointError(f"a {kind} is not a model; give one of hdemucs, or an HDemucs of torchaudio")
    return converted


def load(path: str | Path) -> Model:
    """Load a model from a file, without ever running code from it.

    Args:
        path: A `.safetensors` file of this library or of `demucs` 4.1, a `.th` package of `demucs`, a `.pt`
            state dict of torchaudio's hdemucs_high, or a `.yaml` bag beside the files that it names.

    Returns:
        The model in float32 and evaluation mode.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or of another kind.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise CheckpointError("no such file; give a model file or the name of a registered model")
        if path.stat().st_size == 0:
            raise CheckpointError("the file is empty; download it again")
        if path.suffix in (".yaml", ".yml"):
            return _load_bag(path)
        if path.suffix == ".safetensors":
            return _load_safetensors(path)
        return _load_pickled(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({one_line(error)})") from error


def _load_safetensors(path: Path) -> Network:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, MemoryError) as error:
        raise CheckpointError(f"it is damaged or not a safetensors file ({one_line(error)})") from error
    try:
        if KEY in metadata:
            own = check_plain(json.loads(metadata[KEY]))
            if own["format"] != FORMAT:
                raise CheckpointError(f"its format {own['format']!r:.20} needs a newer hdemucs")
            return build(own["architecture"], dict(own["arguments"]), state)
        if "structure" in metadata:
            raise CheckpointError("its weights are packed by DiffQ, which cannot be read yet")
        if "klass" in metadata:
            args = demucs.decode_json(check_plain(json.loads(metadata.get("args", "[]"))))
            kwargs = demucs.decode_json(check_plain(json.loads(metadata.get("kwargs", "{}"))))
            return demucs.import_class(metadata["klass"], args, kwargs, state)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"its metadata cannot be understood ({one_line(error)})") from error
    raise CheckpointError("it does not say which network its weights belong to; save it with hdemucs")


def _load_pickled(path: Path) -> Network:
    package = read_pickle(path)
    if not isinstance(package, dict):
        raise CheckpointError("it does not hold weights by name; it is not a model file")
    if "klass" not in package:
        return torchaudio.import_state(check_tensors(package))
    klass = package["klass"]
    if not (isinstance(klass, type) and issubclass(klass, ClassName)):
        raise CheckpointError("it does not name the class of its network")
    packed: object = package.get("state")
    if isinstance(packed, dict) and "__quantized" in packed:
        raise CheckpointError("its weights are packed by DiffQ, which cannot be read yet")
    args, kwargs = package.get("args", ()), package.get("kwargs", {})
    return demucs.import_class(klass.path, check_plain(args), check_plain(kwargs), check_tensors(packed))


def _load_bag(path: Path) -> Bag:
    bag = read_yaml(path)
    if not isinstance(bag, dict) or not isinstance(bag.get("models"), list) or not bag["models"]:
        raise CheckpointError("a bag of models needs a list `models` with the signatures of its members")
    weights = bag.get("weights") or [None] * len(bag["models"])
    if not isinstance(weights, list) or len(weights) != len(bag["models"]):
        raise CheckpointError(f"its weights must have one row for each of its {len(bag['models'])} models")
    members: dict[str, Network] = {}
    rows: dict[str, list[float]] = {}
    for signature, row in zip(bag["models"], weights, strict=True):
        if not isinstance(signature, str):
            raise CheckpointError(f"its member {signature!r:.60} is not a signature")
        name = signature
        if name not in members:
            member = load(_member(path.parent, name))
            if isinstance(member, Bag):
                raise CheckpointError(f"its member {name} is itself a bag")
            members[name] = member
            rows[name] = [0.0] * len(member.sources)
        row = [1.0] * len(rows[name]) if row is None else row
        try:
            # A member that is listed twice runs once, with the sum of both weights.
            rows[name] = [a + float(b) for a, b in zip(rows[name], row, strict=True)]
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"its weights of {name} are not one number per source") from error
    segment = bag.get("segment")
    try:
        return Bag(list(members.values()), list(rows.values()), None if segment is None else float(segment))
    except (TypeError, ValueError) as error:
        raise CheckpointError(one_line(error)) from error


def _member(folder: Path, signature: str) -> Path:
    """File of a bag's member: SIGNATURE.safetensors, SIGNATURE.th, or SIGNATURE-CHECKSUM.th once verified."""
    if not re.fullmatch(r"\w[\w.-]*", signature):
        raise CheckpointError(f"its member {signature!r:.60} is not a signature")
    for name in (f"{signature}.safetensors", f"{signature}.th"):
        if (folder / name).is_file():
            return folder / name
    for path in sorted(folder.glob(f"{signature}-*.th")):
        checksum = path.stem.rpartition("-")[2]
        if not sha256(path).startswith(checksum):
            raise CheckpointError(f"{path}: its checksum is not {checksum}; download it again")
        return path
    raise CheckpointError(f"its member {signature} is not in the same folder, as .safetensors or .th")
