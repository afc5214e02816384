"""Model files: this library's own, and those that `demucs` and torchaudio publish.

Own format: one safetensors file. Its metadata has the key `hdemucs` with a JSON object of `format` (1),
`architecture`, `arguments` (of its constructor: sources, sample rate, segment and all) and `provenance`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from hdemucs.checkpoint.build import arguments_of, build
from hdemucs.checkpoint.foreign import (
    architecture_of,
    decode_json,
    torchaudio_settings,
    translate_settings,
    translate_weights,
)
from hdemucs.checkpoint.pickles import ClassName, read_pickle
from hdemucs.errors import CheckpointError, one_line
from hdemucs.files import sha256, write_whole
from hdemucs.model import Bag, Model, Network

FORMAT = 1
KEY = "hdemucs"


def save(
    model: Network, path: str | Path, *, half: bool = False, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a model as one safetensors file that `load` and `hdemucs separate --model` take.

    Args:
        model: a network; the members of a bag are files of their own.
        path: of the file; it appears only when whole.
        half: weights in float16: half the size, at a difference far below what can be heard.
        provenance: anything JSON can hold on where the weights come from.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    dtype = torch.float16 if half else torch.float32
    state = {name: value.detach().cpu().to(dtype).contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "architecture": type(model).__name__,
        "arguments": arguments_of(model),
        "provenance": dict(provenance or {}),
    }
    # Not safetensors' own writing to a file, which leaves it unreadable for others.
    write_whole(path, to_bytes(state, metadata={KEY: json.dumps(metadata)}))


def load(path: str | Path) -> Model:
    """Model from a file; loading runs no code from it.

    Args:
        path: this library's `.safetensors`; a safetensors file of `demucs` 4.1; a `.th` package of `demucs`;
            a `.pt` state dict of torchaudio's hdemucs_high; or a `.yaml` bag beside the files that it names.

    Returns:
        The model in float32 and evaluation mode.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or of another kind, in one line.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise CheckpointError("there is no such file; give a model file or a name of `hdemucs models`")
        if path.stat().st_size == 0:
            raise CheckpointError("it is empty; get it again")
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
        raise CheckpointError(f"it is damaged or no safetensors file ({one_line(error)})") from error
    try:
        if KEY in metadata:
            own = json.loads(metadata[KEY])
            if own["format"] != FORMAT:
                raise CheckpointError(f"its format {own['format']!r:.20} needs a newer hdemucs")
            return build(own["architecture"], dict(own["arguments"]), state)
        if "structure" in metadata:
            raise CheckpointError("its weights are packed by DiffQ, which cannot be read yet")
        if "klass" in metadata:
            architecture = architecture_of(metadata["klass"])
            args = decode_json(json.loads(metadata.get("args", "[]")))
            kwargs = decode_json(json.loads(metadata.get("kwargs", "{}")))
            settings = translate_settings(architecture, list(args), dict(kwargs))
            return build(architecture, settings, translate_weights(architecture, state))
    except (ValueError, KeyError, TypeError, RecursionError, ZeroDivisionError) as error:
        raise CheckpointError(f"its metadata cannot be understood ({one_line(error)})") from error
    raise CheckpointError("it has weights but does not say of which network; save it with hdemucs")


def _load_pickled(path: Path) -> Network:
    package = read_pickle(path)
    if not isinstance(package, dict):
        raise CheckpointError("it holds no weights by name; it is no model file")
    if "klass" not in package:
        state = translate_weights("HDemucs", _tensors(package))
        return build("HDemucs", torchaudio_settings(_tensors(package)), state)
    klass = package["klass"]
    if not (isinstance(klass, type) and issubclass(klass, ClassName)):
        raise CheckpointError("it does not name the class of its network")
    architecture = architecture_of(klass.path)
    packed: object = package.get("state")
    if isinstance(packed, dict) and "__quantized" in packed:
        raise CheckpointError("its weights are packed by DiffQ, which cannot be read yet")
    args, kwargs = package.get("args", ()), package.get("kwargs", {})
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
        raise CheckpointError("its settings are not a list and a dictionary")
    settings = translate_settings(architecture, args, kwargs)
    return build(architecture, settings, translate_weights(architecture, _tensors(packed)))


def _tensors(state: object) -> dict[str, torch.Tensor]:
    if not isinstance(state, dict) or not state:
        raise CheckpointError("it holds no weights by name; it is no model file")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"its {name!r:.60} is not a tensor by name; it is no model file")
    return state


def _load_bag(path: Path) -> Bag:
    try:
        bag = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"it is no YAML ({one_line(error)})") from error
    if not isinstance(bag, dict) or not isinstance(bag.get("models"), list) or not bag["models"]:
        raise CheckpointError("a bag of models needs a list `models` of their signatures")
    weights = bag.get("weights") or [None] * len(bag["models"])
    if not isinstance(weights, list) or len(weights) != len(bag["models"]):
        raise CheckpointError(f"it has {len(bag['models'])} models, and weights for another number")
    members: dict[str, Network] = {}
    rows: dict[str, list[float]] = {}
    for signature, row in zip(bag["models"], weights, strict=True):
        name = str(signature)
        if name not in members:
            member = load(_member(path.parent, name))
            if isinstance(member, Bag):
                raise CheckpointError(f"its member {name} is a bag itself")
            members[name] = member
            rows[name] = [0.0] * len(member.sources)
        row = [1.0] * len(rows[name]) if row is None else row
        try:
            # A member that is listed twice runs once, with the weight of both.
            rows[name] = [a + float(b) for a, b in zip(rows[name], row, strict=True)]
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"its weights of {name} are not one number a source") from error
    segment = bag.get("segment")
    try:
        return Bag(list(members.values()), list(rows.values()), None if segment is None else float(segment))
    except (TypeError, ValueError) as error:
        raise CheckpointError(one_line(error)) from error


def _member(folder: Path, signature: str) -> Path:
    """File of a bag's member: SIGNATURE.safetensors, SIGNATURE.th, or SIGNATURE-CHECKSUM.th, then checked."""
    if not re.fullmatch(r"\w[\w.-]*", signature):
        raise CheckpointError(f"its member {signature!r:.60} is no signature")
    for name in (f"{signature}.safetensors", f"{signature}.th"):
        if (folder / name).is_file():
            return folder / name
    for path in sorted(folder.glob(f"{signature}-*.th")):
        checksum = path.stem.rpartition("-")[2]
        if not sha256(path).startswith(checksum):
            raise CheckpointError(f"{path}: its checksum is not {checksum}; get it again")
        return path
    raise CheckpointError(f"its member {signature} is not beside it, as .safetensors or .th")
