"""Conversion of any model that can be loaded into a file of this library, or a folder for a bag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
import yaml

from hdemucs.apply import Options, apply_model
from hdemucs.checkpoint import save
from hdemucs.errors import CheckpointError, OptionError, OutputError
from hdemucs.files import temporary_beside, write_error
from hdemucs.model import Bag, Model, Network
from hdemucs.pretrained.resolve import load_model, model_name

CLIP_SECONDS = 2
"""Duration of the noise that a model and its conversion must separate into the same stems."""


def convert(model: Model, out: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a model as a safetensors file of this library, or as a folder if it is a bag, and check it.

    Weights are stored in float16 if that loses nothing, as with files that had them so, else in float32. The
    folder of a bag has a file for each member, and `bag.yaml` with their weights.

    Args:
        model: Model to write.
        out: Path of the file or folder, or an existing folder to put it in; None for the model's name in the
            current folder.
        overwrite: Whether what exists is replaced.

    Returns:
        Path of the file or folder, which `load_model` takes.

    Raises:
        OptionError: A file is to be written under a name that is not one of a safetensors file, or a bag
            under one that is.
        OutputError: It exists, or cannot be written.
        CheckpointError: What was written does not separate noise into the same stems, bit for bit; it is
            removed.
    """
    out = _place(model, out)
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; choose another path, or overwrite it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(out, folder=True) as folder:
            part = folder / out.name
            _write(model, part)
            if not _same_stems(model, load_model(part)):
                raise CheckpointError(
                    f"{out}: its stems would differ from the original's; it was not written"
                )
            _move(part, out)
    except OSError as error:
        raise write_error(out, error) from error
    return out


def _place(model: Model, out: Path | None) -> Path:
    bag, suffix = isinstance(model, Bag), ".safetensors"
    if out is None or (out.is_dir() and not (out / "bag.yaml").is_file()):
        return (out or Path()) / (model_name(model) + ("" if bag else suffix))
    if bag and out.suffix == suffix:
        raise OptionError(f"{out}: a bag of models becomes a folder; leave the suffix {suffix} out")
    if not bag and out.suffix != suffix:
        raise OptionError(f"{out}: the name of a model file must end in {suffix}")
    return out


def _write(model: Model, path: Path) -> None:
    if isinstance(model, Network):
        save(model, path, half=_fits_in_half(model))
        return
    members = cast(Iterator[Network], iter(model.models))
    names = []
    for number, member in enumerate(members, 1):
        names.append(f"member{number}")
        _write(member, path / f"{names[-1]}.safetensors")
    (path / "bag.yaml").write_text(yaml.safe_dump({"models": names, "weights": model.weights}))


def _fits_in_half(model: Network) -> bool:
    return all(torch.equal(value.half().to(value), value) for value in model.state_dict().values())


def _same_stems(one: Model, other: Model) -> bool:
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(one.audio_channels, CLIP_SECONDS * one.sample_rate, generator=generator)
    options = Options(device="cpu")
    return one.sources == other.sources and torch.equal(
        apply_model(one, noise, options), apply_model(other, noise, options)
    )


def _move(part: Path, out: Path) -> None:
    """Give what was written its name; a folder that exists keeps its other files."""
    if part.is_dir() and out.is_dir():
        for file in part.iterdir():
            file.replace(out / file.name)
    else:
        part.replace(out)
