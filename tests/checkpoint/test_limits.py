"""Small files that ask for gigabytes, hours or nonsense are refused in one line, at once."""

import contextlib
import io
import json
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hdemucs import checkpoint
from hdemucs.checkpoint.limits import check_plain, fraction
from hdemucs.errors import CheckpointError
from tests.checkpoint.test_load import demucs_metadata, package


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return message.removeprefix(f"{path}: ")


class Reduced:
    """An object whose pickle calls `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def doubled(times: int) -> list[Any]:
    """A list that has 2 ** times values when written out."""
    value: list[Any] = [0]
    for _ in range(times):
        value = [value, value]
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Reduced(Fraction, "1e3000000000"), "fraction"),
        (Reduced(Fraction, 1, 0), "denominator 0"),
        (Reduced(bytearray, 10**10), "asks for __builtin__.bytearray"),
        (Reduced(complex, "1"), "asks for __builtin__.complex"),
        (doubled(25), "far more values"),
        (nested(100), "nested deeper"),
        (10**30, "more than 18 digits"),
        ("x" * 100_000, "string of 100000 characters"),
        (torch.ones(3), "type Tensor"),
    ],
)
def test_settings_in_a_pickle(value: object, message: str, tmp_path: Path) -> None:
    _, saved = package("HDemucs", {"channels": 4, "dconv_attn": 6})
    saved["kwargs"]["nfft"] = value
    torch.save(saved, tmp_path / "model.th")
    assert message in refused(tmp_path / "model.th")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(1).expand(1_000_000, 1000), "not an ordinary tensor"),
        (torch.eye(3).to_sparse(), "asks for torch._utils._rebuild_sparse_tensor"),
        (torch.empty(3, device="meta"), "asks for torch._utils._rebuild_meta_tensor"),
        (torch.quantize_per_tensor(torch.ones(3), 1, 0, torch.qint8), "_rebuild_qtensor"),
    ],
)
def test_tensors_in_a_pickle(tensor: torch.Tensor, message: str, tmp_path: Path) -> None:
    _, saved = package("HDemucs", {"channels": 4, "dconv_attn": 6})
    saved["state"]["encoder.0.conv.weight"] = tensor
    torch.save(saved, tmp_path / "model.th")
    assert message in refused(tmp_path / "model.th")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"segment": {"_type": "fraction", "numerator": "1e3000000000", "denominator": 1}}, "fraction"),
        ({"segment": {"_type": "fraction", "numerator": 1.5, "denominator": 1}}, "fraction"),
        ({"channels": 10**400}, "more than 18 digits"),
        ({"channels": nested(100)}, "nested deeper"),
        ({"channels": [0] * 30_000}, "far more values"),
    ],
)
def test_settings_in_metadata(kwargs: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    metadata = demucs_metadata(kwargs=json.dumps({"sources": ["a"], **kwargs}))
    save_file({"weight": torch.zeros(1)}, path, metadata)
    assert message in refused(path)


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIASES + "models: *a39", "aliases are not allowed"),
        ("models: [2026-13-45]", "not valid YAML"),
        ("models: [2026-11-25]", "type date"),
        ("models: [!!int abc]", "not valid YAML"),
        ("models: [!!bool abc]", "not valid YAML"),
        ("models: [!!python/object/apply:os.system [ls]]", "not valid YAML"),
        ("models: " + "[" * 3000, "not valid YAML"),
        ("models: [a]\nsegment: " + "9" * 400, "more than 18 digits"),
        ("models: [a]\n#" + " " * (1 << 20), "larger than"),
        ("models: [1.5]", "not a signature"),
    ],
)
def test_yaml(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bag.yaml").write_text(text)
    assert message in refused(tmp_path / "bag.yaml")


@pytest.mark.parametrize("segment", ["0", "-1", "1.0e-9", ".nan", ".inf", "long"])
def test_segments_of_a_bag(segment: str, tmp_path: Path) -> None:
    torch.save(package("HDemucs", {"channels": 4, "dconv_attn": 6})[1], tmp_path / "aaaa.th")
    (tmp_path / "bag.yaml").write_text(f"models: [aaaa]\nsegment: {segment}")
    assert "segment" in refused(tmp_path / "bag.yaml") or segment == "long"


def test_bit_flips_and_truncation_never_surface_as_another_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(package("HDemucs", {"channels": 4, "dconv_attn": 6})[1], buffer)
    whole = buffer.getvalue()
    path = tmp_path / "model.th"
    for place in range(0, 3000, 61):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            checkpoint.load(path)
    for content in (b".", b"\x80\x02.", b"PK\x03\x04", pickle.dumps([1]), whole[:100], b"(" * 10_000):
        path.write_bytes(content)
        refused(path)


def test_a_refusal_does_not_recommend_loading_the_file_anyway(tmp_path: Path) -> None:
    path = tmp_path / "model.th"
    for content in (b"RIFF....WAVE", b"hello", b"\x80\x04N."):
        path.write_bytes(content)
        assert "weights_only" not in refused(path)


def test_plain_values_pass() -> None:
    value = {"a": [1, -2.5, None, True, Fraction(1, 3)], "b": ("text", {"c": []}), 3: float("inf")}
    assert check_plain(value) is value
    assert fraction("39/5") == Fraction(39, 5)
    assert fraction("44") == fraction(44) == 44
