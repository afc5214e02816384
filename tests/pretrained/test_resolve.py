from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest

from hdemucs.errors import UnknownModelError
from hdemucs.pretrained import cards, get_card, load_model

SAFE = "model.safetensors"


class FakeModel:
    """What a file turns into: it knows where it came from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.segment = 40.0
        self.name = ""


class FakeBag(FakeModel):
    def __init__(
        self, models: Sequence[FakeModel], weights: object = None, segment: float | None = None
    ) -> None:
        super().__init__(Path("bag"))
        self.models, self.weights, self.segment = models, weights, segment or 0
        self.evaluating = False

    def eval(self) -> FakeBag:
        self.evaluating = True
        return self


@pytest.fixture(autouse=True)
def readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for reading files and for bags, and downloads that need no server."""
    checkpoint, model = types.ModuleType("hdemucs.checkpoint"), types.ModuleType("hdemucs.model")
    checkpoint.__dict__["load"], model.__dict__["Bag"] = FakeModel, FakeBag
    monkeypatch.setitem(sys.modules, "hdemucs.checkpoint", checkpoint)
    monkeypatch.setitem(sys.modules, "hdemucs.model", model)
    monkeypatch.setattr(
        "hdemucs.pretrained.resolve.download", lambda card: [Path(file.name) for file in card.files]
    )


def load(spec: str | Path) -> FakeModel:
    model = load_model(spec)
    assert isinstance(model, FakeModel)
    return model


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("models: [a, b]" if name.endswith("bag.yaml") else "")
    return folder


@pytest.mark.parametrize("name", [card.name for card in cards() if len(card.files) > 1])
def test_registered_bag(name: str):
    card, model = get_card(name), load(name)
    assert isinstance(model, FakeBag)
    assert [member.path.name for member in model.models] == [file.name for file in card.files]
    assert (model.weights, model.segment, model.name) == (card.weights, card.segment, name)
    assert model.evaluating


@pytest.mark.parametrize("name", [card.name for card in cards() if len(card.files) == 1])
def test_registered_single_model(name: str):
    card, model = get_card(name), load(name)
    assert model.path.name == card.files[0].name
    assert model.segment == (card.segment or 40.0)
    assert model.name == name


def test_only_a_card_with_a_segment_changes_the_models_own():
    assert load("hdemucs_mmi").segment == 44
    assert load("hdemucs_high_musdb").segment == 40


@pytest.mark.parametrize("name", ["drums.th", "drums.safetensors", "drums.pt", "drums.bag.yaml", "drums"])
def test_file(here: Path, name: str):
    files(here, name)
    for spec in (name, f"./{name}", here / name, str(here / name), Path(name)):
        model = load(spec)
        assert model.path.resolve() == here / name
        assert model.name == Path(name).stem


def test_home_folder_is_expanded(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(files(here / "home", "mine.th")))
    assert load("~/mine.th").path == here / "home/mine.th"


def test_registered_name_wins_over_a_file(here: Path):
    files(here, "hdemucs_mmi")
    assert load("hdemucs_mmi").path.name == "75fc33f5-1941ce65.th"
    for spec in ("./hdemucs_mmi", Path("hdemucs_mmi")):
        assert load(spec).path.resolve() == here / "hdemucs_mmi"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((SAFE,), SAFE),
        (("a.th",), "a.th"),
        ((SAFE, "config.json", "README.md", ".hidden.th"), SAFE),
        (("a.th", "b.th", "bag.yaml"), "bag.yaml"),
        ((SAFE, "training.yaml"), SAFE),
        (("a.th", "b.th", "bag.yaml", "training.yaml"), "bag.yaml"),
    ],
)
def test_folder_with_one_model(here: Path, names: tuple[str, ...], expected: str):
    folder = files(here / "mine", *names)
    for spec in (folder, str(folder), "mine", "mine/"):
        assert load(spec).path.resolve() == folder / expected


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ((), "no .yaml bag and no .safetensors, .th, .pt"),
        (("a.wav", "training.yaml"), "no .yaml bag"),
        (("a.th", "b.safetensors"), "a.th, b.safetensors"),
        (("a.th", "1bag.yaml", "2bag.yaml"), "1bag.yaml, 2bag.yaml"),
    ],
)
def test_folder_without_one_model(here: Path, names: tuple[str, ...], complaint: str):
    with pytest.raises(UnknownModelError, match=r"mine must hold one model") as caught:
        load(files(here / "mine", *names))
    assert complaint in str(caught.value)


def test_broken_yaml_in_a_folder_is_not_passed_over(here: Path):
    folder = files(here / "mine", SAFE)
    (folder / "bag.yaml").write_text("models: [")
    assert load(folder).path.name == "bag.yaml"


@pytest.mark.parametrize("spec", ["./mdx", "models/x", "x.th", "~/x", "x.yaml", Path("x"), "/no/such/x.pt"])
def test_missing_file(here: Path, spec: str | Path):
    with pytest.raises(UnknownModelError, match=r"No model file .*`hdemucs models` lists"):
        load(spec)


@pytest.mark.parametrize("spec", ["x/" * 5000, "~no_such_user/x.th"])
def test_path_that_the_system_refuses(spec: str):
    with pytest.raises(UnknownModelError, match="cannot be read"):
        load(spec)


def test_name_that_the_system_refuses_as_a_path():
    with pytest.raises(UnknownModelError, match="No model is named"):
        load("x" * 5000)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownModelError, match="did you mean mdx_extra"):
        load("mdx_extr")


@pytest.mark.parametrize("spec", ["hf://", "hf://user", "hf://a/b/c", "hf://user/repo@", "hf://user/re po"])
def test_malformed_hub_address(spec: str):
    with pytest.raises(UnknownModelError, match="hf://user/repo@revision"):
        load(spec)
