"""Mutated model files: each is loaded or refused as what it is, soon, and nothing else happens."""

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from hdemucs import checkpoint
from hdemucs.checkpoint.files import KEY
from hdemucs.errors import CheckpointError
from tests.checkpoint.test_load import package
from tests.conftest import tiny_network
from tests.reference import TRANSFORMER

MUTATIONS = 130
"""Mutations of each file; half as many of the settings in each kind of file. About 850 in all."""
SECONDS = 5.0
"""Longest time that one file may take on a slow machine; most take a few milliseconds."""

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


def mutated(content: bytes, seed: int) -> bytes:
    """Content with a few random places overwritten, removed, repeated or cut off."""
    dice = random.Random(seed)
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


def assert_loads_or_is_refused(path: Path) -> None:
    started = time.process_time()
    message = ""
    try:
        checkpoint.load(path)
    except CheckpointError as error:
        message = str(error)
    assert time.process_time() - started < SECONDS
    assert not message or str(path.parent) in message
    assert "\n" not in message
    assert len(message) < 1000


def transformer_package() -> dict[str, Any]:
    settings = {**TRANSFORMER, "depth": 2, "nfft": 256, "bottom_channels": 8, "t_heads": 2}
    return package("HTDemucs", settings)[1]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each kind: this library's, a package of `demucs`, and a bag of it."""
    folder = tmp_path_factory.mktemp("originals")
    checkpoint.save(tiny_network(), folder / "own.safetensors")
    torch.save(package("HDemucs", {"dconv_attn": 6, "channels": 4})[1], folder / "member.th")
    torch.save(transformer_package(), folder / "transformer.th")
    bag = {"models": ["member", "member"], "weights": [[1.0] * 4, [0.5] * 4], "segment": 11}
    (folder / "bag.yaml").write_text(yaml.safe_dump(bag))
    return folder


@pytest.mark.fuzz
@pytest.mark.parametrize("name", ["own.safetensors", "member.th", "transformer.th", "bag.yaml"])
def test_mutated_bytes(name: str, originals: Path, tmp_path: Path) -> None:
    content = (originals / name).read_bytes()
    (tmp_path / "member.th").symlink_to(originals / "member.th")
    path = tmp_path / f"mutated{Path(name).suffix}"
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(content, seed))
        try:
            assert_loads_or_is_refused(path)
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}") from error


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", ["own", "demucs", "package", "transformer", "bag"])
def test_awkward_settings(kind: str, originals: Path, tmp_path: Path) -> None:
    for seed in range(MUTATIONS // 2):
        path = WRITERS[kind](originals, tmp_path, random.Random(seed))
        try:
            assert_loads_or_is_refused(path)
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}") from error


def _own(originals: Path, folder: Path, dice: random.Random) -> Path:
    model = tiny_network()
    settings = {"format": 1, "architecture": "HDemucs", "arguments": model.config.as_dict(), "provenance": {}}
    metadata = {KEY: json.dumps(changed(settings, dice))}
    save_file(load_file(originals / "own.safetensors"), folder / "own.safetensors", metadata)
    return folder / "own.safetensors"


def _demucs(originals: Path, folder: Path, dice: random.Random) -> Path:
    kwargs = {"sources": ["a", "b"], "channels": 4, "segment": {"_type": "fraction", "numerator": 44}}
    metadata = {"klass": "demucs.hdemucs.HDemucs", "args": "[]", "kwargs": json.dumps(changed(kwargs, dice))}
    save_file(load_file(originals / "own.safetensors"), folder / "demucs.safetensors", metadata)
    return folder / "demucs.safetensors"


def _package(originals: Path, folder: Path, dice: random.Random) -> Path:
    return _changed_package(package("HDemucs", {"dconv_attn": 6, "channels": 4})[1], folder, dice)


def _transformer(originals: Path, folder: Path, dice: random.Random) -> Path:
    return _changed_package(transformer_package(), folder, dice)


def _changed_package(saved: dict[str, Any], folder: Path, dice: random.Random) -> Path:
    if dice.random() < 0.5:
        saved["kwargs"] = changed(saved["kwargs"], dice)
    else:
        name = dice.choice(sorted(saved["state"]))
        saved["state"][name] = dice.choice(list(_odd_tensors()))
    torch.save(saved, folder / "package.th")
    return folder / "package.th"


def _bag(originals: Path, folder: Path, dice: random.Random) -> Path:
    if not (folder / "member.th").exists():
        (folder / "member.th").symlink_to(originals / "member.th")
    bag = {"models": ["member", "member"], "weights": [[1.0] * 4, [0.5] * 4], "segment": 11}
    text = yaml.safe_dump(changed(bag, dice))
    (folder / "bag.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    return folder / "bag.yaml"


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


WRITERS: dict[str, Callable[[Path, Path, random.Random], Path]] = {
    "own": _own,
    "demucs": _demucs,
    "package": _package,
    "transformer": _transformer,
    "bag": _bag,
}
