"""Model files of all kinds: those of the original packages give the same outputs, all others are refused."""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hdemucs import checkpoint
from hdemucs.errors import CheckpointError, OutputError
from hdemucs.model import Bag, HDemucs, Model, Network
from tests.reference import REFERENCES, SOURCES, TRANSFORMER, randomise, reference_pair, torchaudio_hdemucs

MIX = torch.randn(1, 2, 5000, generator=torch.Generator().manual_seed(0))
HALF = 2e-3
"""Largest change by rounding weights to half precision, relative to the peak of the output."""

PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "defaults": ("HDemucs", {}),
    "75fc33f5": ("HDemucs", {"multi_freqs": [], "multi_freqs_depth": 3, "dconv_init": 1e-3}),
    "c511e2ab": ("HDemucs", {"cac": False, "hybrid_old": True, "norm_starts": 999}),
    "7d865c68": ("HDemucs", {"norm_starts": 999, "multi_freqs": [0.1, 0.3], "multi_freqs_depth": 2}),
    "5d2d6c55": ("HDemucs", {"cac": False, "wiener_iters": 0, "norm_starts": 4}),
    "0d19c1c6": ("Demucs", {"rewrite": False, "normalize": True, "norm_starts": 4}),
    "fa0cb7f9": ("Demucs", {"normalize": True}),
    "955717e8": (
        "HTDemucs",
        {**TRANSFORMER, "channels": 16},
    ),
    "5c90dfd2": (
        "HTDemucs",
        {**TRANSFORMER, "channels": 16, "bottom_channels": 0, "sources": [*SOURCES, "guitar", "piano"]},
    ),
}
SEGMENT = {"HTDemucs": Fraction(39, 50)}
"""Segments that are not 44 s: a network that pads to its segment gets a tenth of the published 39/5 s."""


def package(architecture: str, settings: dict[str, Any], seed: int = 0) -> tuple[nn.Module, dict[str, Any]]:
    """A reference model, and the package that `demucs` saves of it in a `.th` file."""
    torch.manual_seed(seed)
    kwargs = {"sources": SOURCES, "audio_channels": 2, "channels": 8, "samplerate": 44100, **settings}
    kwargs.setdefault("segment", SEGMENT.get(architecture, Fraction(44)))
    reference = REFERENCES[architecture](**kwargs).eval()
    randomise(reference, seed)
    state = {name: value.half() for name, value in reference.state_dict().items()}
    reference.load_state_dict(state)
    saved = {
        "klass": REFERENCES[architecture],
        "args": (),
        "kwargs": kwargs,
        "state": state,
        "training_args": {"epochs": 600, "dset": {"musdb": "somewhere"}},
    }
    return reference, saved


def difference(reference: nn.Module, model: Model) -> float:
    with torch.no_grad():
        expected, actual = reference(MIX), model(MIX)
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("case", PUBLISHED)
def test_demucs_package(case: str, tmp_path: Path) -> None:
    reference, saved = package(*PUBLISHED[case])
    torch.save(saved, tmp_path / "model.th")
    model = checkpoint.load(tmp_path / "model.th")
    assert difference(reference, model) < 1e-5
    kwargs = saved["kwargs"]
    assert (model.sources, model.sample_rate) == (kwargs["sources"], 44100)
    assert model.segment == pytest.approx(float(kwargs["segment"]), rel=1e-12)
    assert not model.training


@pytest.mark.parametrize("case", PUBLISHED)
def test_demucs_safetensors_of_the_hub(case: str, tmp_path: Path) -> None:
    reference, saved = package(*PUBLISHED[case])
    segment = saved["kwargs"]["segment"]
    fraction = {"_type": "fraction", "numerator": segment.numerator, "denominator": segment.denominator}
    kwargs = {**saved["kwargs"], "segment": fraction}
    klass = REFERENCES[PUBLISHED[case][0]]
    metadata = {
        "klass": f"{klass.__module__}.{klass.__qualname__}",
        "args": json.dumps([]),
        "kwargs": json.dumps(kwargs),
    }
    state = {name: value.contiguous() for name, value in saved["state"].items()}
    save_file(state, tmp_path / "model.safetensors", metadata)
    model = checkpoint.load(tmp_path / "model.safetensors")
    assert difference(reference, model) < 1e-5
    assert model.segment == pytest.approx(float(segment), rel=1e-12)


def test_torchaudio_state_dict(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = torchaudio_hdemucs().HDemucs(SOURCES, channels=8).eval()
    randomise(reference)
    torch.save(reference.state_dict(), tmp_path / "model.pt")
    model = checkpoint.load(tmp_path / "model.pt")
    assert difference(reference, model) < 1e-5
    assert (model.sources, model.sample_rate) == (SOURCES, 44100)


def test_torchaudio_state_dict_of_unknown_rate(tmp_path: Path) -> None:
    torch.save(
        torchaudio_hdemucs().HDemucs(SOURCES, channels=4, nfft=1024, depth=5).state_dict(), tmp_path / "m.pt"
    )
    with pytest.raises(CheckpointError, match="not that of torchaudio's hdemucs_high"):
        checkpoint.load(tmp_path / "m.pt")


def bag_folder(tmp_path: Path, names: list[str], definition: dict[str, Any]) -> tuple[list[nn.Module], Path]:
    references = []
    for index, name in enumerate(names):
        reference, saved = package("HDemucs", {"dconv_attn": 6, "channels": 4}, seed=index)
        torch.save(saved, tmp_path / f"{name}.th")
        references.append(reference)
    (tmp_path / "bag.yaml").write_text(yaml.safe_dump(definition))
    return references, tmp_path / "bag.yaml"


def test_bag(tmp_path: Path) -> None:
    """A member that is listed twice counts twice and is loaded once."""
    definition = {
        "models": ["aaaa", "bbbb", "aaaa"],
        "weights": [[1.0, 1.0, 0.0, 0.0], [0.0, 2.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]],
        "segment": 11,
    }
    (first, second), path = bag_folder(tmp_path, ["aaaa", "bbbb"], definition)
    bag = checkpoint.load(path)
    assert isinstance(bag, Bag)
    assert len(bag.models) == 2
    assert [member.segment for member in bag.models] == [11, 11]
    with torch.no_grad():
        a, b, both = first(MIX), second(MIX), bag(MIX)
    expected = torch.stack([a[:, 0], (a[:, 1] + b[:, 1]) / 2, b[:, 2], b[:, 3]], 1)
    assert torch.allclose(both, expected, atol=1e-5 * float(expected.abs().max()))


def test_bag_checks_the_checksum_in_a_file_name(tmp_path: Path) -> None:
    _, path = bag_folder(tmp_path, ["aaaa"], {"models": ["aaaa"]})
    data = (tmp_path / "aaaa.th").read_bytes()
    right = hashlib.sha256(data).hexdigest()[:8]
    (tmp_path / "aaaa.th").rename(tmp_path / f"aaaa-{right}.th")
    assert isinstance(checkpoint.load(path), Bag)
    (tmp_path / f"aaaa-{right}.th").rename(tmp_path / "aaaa-00000000.th")
    with pytest.raises(CheckpointError, match="checksum"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({}, "list `models`"),
        ({"models": "aaaa"}, "list `models`"),
        ({"models": ["cccc"]}, "cccc is not in the same folder"),
        ({"models": ["../aaaa"]}, "not a signature"),
        ({"models": ["aaaa"], "weights": [[1, 1]]}, "one number per source"),
        ({"models": ["aaaa"], "weights": [["x", 1, 1, 1]]}, "one number per source"),
        ({"models": ["aaaa"], "weights": [[1, 1, 1, 1], [1, 1, 1, 1]]}, "one row for each of its 1 models"),
        ({"models": ["aaaa"], "weights": [[0, 1, 1, 1]]}, "each source needs a model"),
        ({"models": ["aaaa"], "segment": "long"}, "could not convert"),
    ],
)
def test_bag_that_makes_no_sense(definition: dict[str, Any], message: str, tmp_path: Path) -> None:
    _, path = bag_folder(tmp_path, ["aaaa"], definition)
    assert_refused(path, message)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("architecture", ["HDemucs", "HTDemucs", "Demucs"])
def test_own_format_round_trip(architecture: str, half: bool, tmp_path: Path) -> None:
    settings = {"channels": 16, **TRANSFORMER} if architecture == "HTDemucs" else {"norm_starts": 2}
    _, model = reference_pair(architecture, **{"channels": 8, "segment": 3.5, **settings})
    path = tmp_path / "new" / "model.safetensors"
    checkpoint.save(model, path, half=half, provenance={"recipe": "by hand"})
    loaded = checkpoint.load(path)
    assert difference(model, loaded) < (HALF if half else 1e-6)
    assert loaded.segment == 3.5
    assert next(loaded.parameters()).dtype == torch.float32
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]
    if half:
        size = sum(parameter.numel() for parameter in model.parameters())
        assert path.stat().st_size < 2 * size + 50_000


def small() -> Network:
    return HDemucs(["a", "b"], channels=4, depth=5, n_fft=1024, attention_starts=99)


def test_loaded_models_can_be_trained(tmp_path: Path) -> None:
    checkpoint.save(small(), tmp_path / "model.safetensors")
    model = checkpoint.load(tmp_path / "model.safetensors").train()
    model(MIX).abs().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_save_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        checkpoint.save(small(), tmp_path / "file" / "model.safetensors")


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text


class Command:
    """Pickles to a call of a shell."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("where", ["klass", "kwargs", "state"])
@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_that_would_run_a_command(where: str, legacy: bool, tmp_path: Path) -> None:
    _, saved = package("HDemucs", {"channels": 4, "dconv_attn": 6})
    saved[where] = Command(tmp_path / "ran")
    torch.save(saved, tmp_path / "model.th", _use_new_zipfile_serialization=not legacy)
    assert_refused(tmp_path / "model.th", "was not loaded")
    assert not (tmp_path / "ran").exists()


def test_plain_pickle_that_would_run_a_command(tmp_path: Path) -> None:
    (tmp_path / "model.th").write_bytes(pickle.dumps(Command(tmp_path / "ran")))
    assert_refused(tmp_path / "model.th", "not loaded|damaged")
    assert not (tmp_path / "ran").exists()


def test_refusal_names_what_the_pickle_wants(tmp_path: Path) -> None:
    _, saved = package("HDemucs", {"channels": 4, "dconv_attn": 6})
    saved["training_args"] = Command(tmp_path / "ran")
    torch.save(saved, tmp_path / "model.th")
    assert_refused(tmp_path / "model.th", r"asks for (posix|nt)\.system")


def test_unknown_class_of_the_same_package(tmp_path: Path) -> None:
    from demucs.transformer import LayerScale

    _, saved = package("HDemucs", {"channels": 4, "dconv_attn": 6})
    torch.save({**saved, "klass": LayerScale}, tmp_path / "model.th")
    assert_refused(tmp_path / "model.th", "demucs.transformer.LayerScale")


def demucs_metadata(**changes: str) -> dict[str, str]:
    kwargs = {"sources": SOURCES, "channels": 4, "dconv_attn": 6}
    return {"klass": "demucs.hdemucs.HDemucs", "args": "[]", "kwargs": json.dumps(kwargs), **changes}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (demucs_metadata(klass="os.system"), "names the class 'os.system'"),
        (demucs_metadata(klass="builtins.eval"), "names the class"),
        (demucs_metadata(klass="demucs.htdemucs.HTDemucs2"), "names the class 'demucs.htdemucs.HTDemucs2'"),
        (demucs_metadata(kwargs="{"), "metadata cannot be understood"),
        (demucs_metadata(kwargs='{"sources": ["a"], "fancy": true}'), "setting fancy=True is not supported"),
        (demucs_metadata(kwargs='{"sources": ["a"], "growth": 3}'), "growth=3 is not supported, only 2"),
        (demucs_metadata(kwargs='{"sources": ["a"], "channels": 1e30}'), "channels must be a whole number"),
        (demucs_metadata(kwargs='{"sources": ["a"], "channels": 999999}'), "channels must be from 1 to 4096"),
        (demucs_metadata(kwargs='{"sources": ["a"], "depth": 1000000}'), "depth must be from 1 to 16"),
        (demucs_metadata(kwargs='{"sources": ["a"], "depth": -1}'), "depth must be from 1 to 16"),
        (demucs_metadata(kwargs='{"sources": "abcd"}'), "sources must be a list"),
        (demucs_metadata(kwargs='{"channels": 4}'), "which sources"),
        (
            demucs_metadata(
                kwargs='{"sources": ["a"], "segment": {"_type": "fraction", "numerator": 1, '
                '"denominator": 0}}'
            ),
            "denominator 0",
        ),
        (demucs_metadata(structure="{}"), "DiffQ"),
        ({"hdemucs": '{"format": 2}'}, "needs a newer hdemucs"),
        ({"hdemucs": '{"format": 1, "architecture": "os.system", "arguments": {}}'}, "unknown architecture"),
        (
            {"hdemucs": '{"format": 1, "architecture": "HDemucs", "arguments": {"sources": [], "new": 1}}'},
            "unknown settings new",
        ),
        ({"hdemucs": "[]"}, "metadata cannot be understood"),
        ({}, "does not say which network"),
    ],
)
def test_metadata_that_asks_for_something_else(
    metadata: dict[str, str], message: str, tmp_path: Path
) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors", metadata)
    assert_refused(tmp_path / "model.safetensors", message)


def rewritten(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Write a model file of this library to `path`, with its weights changed by `change`."""
    checkpoint.save(small(), path)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    change(state)
    save_file(state, path, metadata)


def test_missing_surplus_misshapen_and_broken_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    name = "freq_encoder.0.conv.weight"
    rewritten(path, lambda state: state.__delitem__(name))
    assert_refused(path, f"lacks the weights {name}")
    rewritten(path, lambda state: state.update(extra=torch.zeros(1)))
    assert_refused(path, "the network does not have: extra")
    rewritten(path, lambda state: state.update({name: torch.zeros(3, 4)}))
    assert_refused(path, rf"{name} has the shape \[3, 4\], expected \[4, 4, 8, 1\]")
    rewritten(path, lambda state: state.update({name: torch.full_like(state[name], torch.nan)}))
    assert_refused(path, f"{name} contains NaN")
    rewritten(path, lambda state: state.update({name: state[name].int()}))
    assert_refused(path, "not a tensor of floating-point")


@pytest.mark.parametrize("suffix", [".safetensors", ".th", ".pt", ".yaml"])
def test_damaged_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    assert_refused(path, "no such file")
    path.write_bytes(b"")
    assert_refused(path, "empty")
    path.write_bytes(b"\x80\x02not a model at all\x00\xff" * 100)
    assert_refused(path, "damaged|not valid YAML|not loaded")


@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
def test_truncated_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".th":
        torch.save(package("HDemucs", {"channels": 4, "dconv_attn": 6})[1], path)
    else:
        checkpoint.save(small(), path)
    whole = path.read_bytes()
    for part in (0.5, 0.99):
        path.write_bytes(whole[: int(part * len(whole))])
        assert_refused(path, "damaged")


def test_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "model.th"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N0" * 20_000_000)
    assert path.stat().st_size < 100_000
    assert_refused(path, "would unpack to")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "does not hold weights by name"),
        ({}, "does not hold weights by name"),
        ({"a": 1}, "not a tensor"),
        ({1: torch.zeros(1)}, "not a tensor"),
        ({"klass": "HDemucs"}, "does not name the class"),
        ({"state": {}}, "not a tensor"),
    ],
)
def test_pickles_of_something_else(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.th")
    assert_refused(tmp_path / "model.th", message)


def test_diffq_package_says_so(tmp_path: Path) -> None:
    _, saved = package("HDemucs", {"channels": 4, "dconv_attn": 6})
    torch.save({**saved, "state": {"__quantized": True, "quantized": []}}, tmp_path / "model.th")
    assert_refused(tmp_path / "model.th", "DiffQ")
