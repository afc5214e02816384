"""Mutated model files of every kind: each is loaded or refused as what it is, soon, and that is all."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from hdemucs import checkpoint
from hdemucs.checkpoint.files import KEY
from hdemucs.errors import CheckpointError, HDemucsError
from hdemucs.pretrained.registry import CARDS, read_card
from tests.checkpoint.test_load import package
from tests.conftest import tiny_network
from tests.fuzzing import search
from tests.reference import TRANSFORMER, torchaudio_hdemucs

PLACES = (b"", b"\x00", b"\xff", b"0", b"-", b"[", b"{", b"e9", b"1e999", b"NaN", b"null", b"9" * 30)
NUMBERS: list[object] = [-1, 0, 1, 2**31, 2**70, 10**400, -0.5, 1e-300, float("nan"), float("inf"), True]
VALUES: list[object] = [
    *NUMBERS,
    None,
    "",
    "x" * 20_000,
    "\ud800",
    [],
    [[]],
    [0] * 50,
    {},
    {"_type": "fraction"},
    {"_type": "fraction", "numerator": 1, "denominator": 0},
]


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Content with a few random places overwritten, removed, repeated or cut off."""
    data = bytearray(content)
    # Sizes and settings are at the start or at the end of a file, and weights between them.
    edges = dice.random() < 0.7
    for _ in range(dice.choice((1, 1, 2, 5))):
        limit = min(len(data), 4000) if edges else len(data)
        place = dice.randrange(limit) if limit else 0
        place = len(data) - 1 - place if edges and dice.random() < 0.4 and data else place
        kind = dice.randrange(5)
        if kind == 0 and data:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[place : place + dice.randrange(20)] = dice.choice(PLACES)
        elif kind == 2:
            data[place:place] = data[place : place + dice.randrange(200)]
        elif kind == 3:
            data[place : place + 4] = dice.randbytes(4)
        elif dice.random() < 0.3:
            del data[place:]
    return bytes(data)


def changed(value: object, dice: random.Random) -> object:
    """Plain data with one value, chosen at random, replaced by an awkward one."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(sorted(value))
        return {**value, key: changed(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.7:
        index = dice.randrange(len(value))
        return [*value[:index], changed(value[index], dice), *value[index + 1 :]]
    return dice.choice(VALUES)


@cache
def demucs_package() -> dict[str, Any]:
    return package("HDemucs", {"dconv_attn": 6, "channels": 4})[1]


@cache
def transformer_package() -> dict[str, Any]:
    settings = {**TRANSFORMER, "depth": 2, "nfft": 256, "bottom_channels": 8, "t_heads": 2}
    return package("HTDemucs", settings)[1]


@cache
def own_arguments() -> dict[str, Any]:
    return tiny_network().config.as_dict()


BAG = {"models": ["member", "member"], "weights": [[1.0] * 4, [0.5] * 4], "segment": 11}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file of each kind that is loaded."""
    folder = tmp_path_factory.mktemp("originals")
    checkpoint.save(tiny_network(), folder / "own.safetensors")
    torch.save(demucs_package(), folder / "member.th")
    torch.save(transformer_package(), folder / "transformer.th")
    # The format of torch before 1.6, in which demucs' first models are.
    torch.save(demucs_package(), folder / "old.th", _use_new_zipfile_serialization=False)
    torch.save(
        torchaudio_hdemucs().HDemucs(["a", "b", "c", "d"], channels=4).state_dict(), folder / "bare.pt"
    )
    kwargs = {"sources": ["a", "b"], "channels": 4, "segment": {"_type": "fraction", "numerator": 44}}
    metadata = {"klass": "demucs.hdemucs.HDemucs", "args": "[]", "kwargs": json.dumps(kwargs)}
    save_file(load_file(folder / "own.safetensors"), folder / "hub.safetensors", metadata)
    (folder / "bag.yaml").write_text(yaml.safe_dump(BAG))
    (folder / "card.yaml").write_text((CARDS / "mdx.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def try_mutant(originals: Path, folder: Path, seed: int) -> bool:
    """Write a mutated model file, and load it; returns whether it was refused."""
    dice = random.Random(seed)
    path = WRITERS[seed % len(WRITERS)](originals, folder, dice)
    is_card = path.name == "card.yaml"
    refusal = HDemucsError if is_card else CheckpointError
    try:
        if is_card:
            read_card(path)
        else:
            checkpoint.load(path)
    except refusal as error:
        message = str(error)
        assert str(folder) in message, message
        assert "\n" not in message, message
        assert len(message) < 1000, message
        return True
    return False


@pytest.mark.fuzz
def test_mutated_files_are_loaded_or_refused(
    originals: Path, tmp_path: Path, mutants: range, capfd: pytest.CaptureFixture[str], record_property: Any
) -> None:
    (tmp_path / "member.th").symlink_to(originals / "member.th")
    found = search(partial(try_mutant, originals, tmp_path), mutants)
    record_property("search", str(found))
    assert found.faults == {}
    assert capfd.readouterr() == ("", "")


def _bytes(name: str, originals: Path, folder: Path, dice: random.Random) -> Path:
    path = folder / ("card.yaml" if name == "card.yaml" else f"mutated{Path(name).suffix}")
    path.write_bytes(mutated((originals / name).read_bytes(), dice))
    return path


def _own(originals: Path, folder: Path, dice: random.Random) -> Path:
    settings = {"format": 1, "architecture": "HDemucs", "arguments": own_arguments(), "provenance": {}}
    metadata = {KEY: json.dumps(changed(settings, dice))}
    save_file(load_file(originals / "own.safetensors"), folder / "own.safetensors", metadata)
    return folder / "own.safetensors"


def _hub(originals: Path, folder: Path, dice: random.Random) -> Path:
    kwargs = {"sources": ["a", "b"], "channels": 4, "segment": {"_type": "fraction", "numerator": 44}}
    metadata = {"klass": "demucs.hdemucs.HDemucs", "args": "[]", "kwargs": json.dumps(changed(kwargs, dice))}
    save_file(load_file(originals / "own.safetensors"), folder / "hub.safetensors", metadata)
    return folder / "hub.safetensors"


def _package(whole: Callable[[], dict[str, Any]], originals: Path, folder: Path, dice: random.Random) -> Path:
    saved = deepcopy(whole())
    if dice.random() < 0.5:
        saved["kwargs"] = changed(saved["kwargs"], dice)
    else:
        name = dice.choice(sorted(saved["state"]))
        saved["state"][name] = dice.choice(list(_odd_tensors()))
    torch.save(saved, folder / "package.th")
    return folder / "package.th"


def _pickle(originals: Path, folder: Path, dice: random.Random) -> Path:
    """The pickle inside of a package is mutated, and the archive around it is whole: checksums are right."""
    packed = io.BytesIO()
    with zipfile.ZipFile(originals / "member.th") as before, zipfile.ZipFile(packed, "w") as after:
        for entry in before.infolist():
            content = before.read(entry)
            after.writestr(entry, mutated(content, dice) if entry.filename.endswith("data.pkl") else content)
    (folder / "pickle.th").write_bytes(packed.getvalue())
    return folder / "pickle.th"


def _bag(originals: Path, folder: Path, dice: random.Random) -> Path:
    return _yaml(folder / "bag.yaml", changed(BAG, dice))


def _card(originals: Path, folder: Path, dice: random.Random) -> Path:
    card = yaml.safe_load((originals / "card.yaml").read_text(encoding="utf-8"))
    return _yaml(folder / "card.yaml", changed(card, dice))


def _yaml(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8", errors="surrogatepass")
    return path


def _odd_tensors() -> Iterator[object]:
    yield torch.zeros(1).expand(10**6)
    yield torch.tensor(float("nan"))
    yield torch.zeros(0)
    yield torch.zeros(3, dtype=torch.int64)
    yield torch.zeros(2, 2).to_sparse()
    yield torch.zeros(2, dtype=torch.complex64)
    yield torch.zeros(1, 1, 1, 1, 1, 1)
    yield torch.zeros(2, device="meta")
    yield [1.0]


Writer = Callable[[Path, Path, random.Random], Path]
FILES = (
    "own.safetensors",
    "hub.safetensors",
    "member.th",
    "transformer.th",
    "old.th",
    "bare.pt",
    "bag.yaml",
    "card.yaml",
)
WRITERS: list[Writer] = [
    *(partial(_bytes, name) for name in FILES),
    _own,
    _hub,
    partial(_package, demucs_package),
    partial(_package, transformer_package),
    _pickle,
    _bag,
    _card,
]
