"""Which files `load_model` reads for a name, a path or an address; a stand-in for the reader records them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hdemucs.errors import CheckpointError, OptionError, UnknownModelError
from hdemucs.model import Bag, HDemucs, Model
from hdemucs.pretrained import cards, get_card, load_model, model_name
from tests.conftest import tiny_network

SAFE = "model.safetensors"


def replaced(network: HDemucs, sources: tuple[str, ...]) -> HDemucs:
    return HDemucs.from_config(replace(network.config, sources=sources)).eval()  # type: ignore[return-value]


class Reader:
    """Stand-in for `hdemucs.checkpoint.load` that records which files it was given."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def __call__(self, path: Path) -> HDemucs:
        self.paths.append(path)
        card = next((card for card in cards() if Path(card.files[0].name) == path), None)
        sources = None if card is None else card.file_sources or card.sources
        return tiny_network() if sources is None else replaced(tiny_network(), sources)

    def load(self, spec: str | Path) -> tuple[Model, list[Path]]:
        """The model, and the files it was read from."""
        self.paths.clear()
        return load_model(spec), self.paths

    def file(self, spec: str | Path) -> Path:
        """The one file that a model was read from."""
        (path,) = self.load(spec)[1]
        return path


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    reader = Reader()
    monkeypatch.setattr("hdemucs.checkpoint.load", reader)
    monkeypatch.setattr(
        "hdemucs.pretrained.resolve.download",
        lambda card, files=None: [Path(file.name) for file in files or card.files],
    )
    return reader


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


@pytest.mark.parametrize("name", [card.name for card in cards()])
def test_registered_model(reader: Reader, name: str) -> None:
    card = get_card(name)
    model, paths = reader.load(name)
    assert [path.name for path in paths] == [file.name for file in card.files]
    assert isinstance(model, Bag) == (len(card.files) > 1)
    assert model_name(model) == name
    assert model.sources == list(card.sources)
    assert not model.training
    assert model.segment == (card.segment or tiny_network().segment)
    if isinstance(model, Bag):
        equal = [[1.0] * len(card.sources)] * len(card.files)
        assert [list(row) for row in model.weights] == [list(row) for row in card.weights or equal]


@pytest.mark.parametrize(
    ("name", "sources", "members"),
    [
        ("htdemucs_ft", ["vocals"], [3]),
        ("htdemucs_ft", ["vocals", "drums"], [0, 3]),
        ("mdx", ["bass"], [0, 1]),
        ("mdx_extra", ["bass"], [0, 1, 2, 3]),
        ("htdemucs", ["bass"], [0]),
    ],
)
def test_members_that_no_source_needs_are_left_out(
    reader: Reader, name: str, sources: list[str], members: list[int]
) -> None:
    model = load_model(name, sources=sources)
    card = get_card(name)
    assert [path.name for path in reader.paths] == [card.files[index].name for index in members]
    assert model_name(model) == name
    if isinstance(model, Bag):
        assert model.sources == [source for source in card.sources if source in sources]


def test_sources_that_a_bag_does_not_have_download_nothing(reader: Reader) -> None:
    with pytest.raises(OptionError, match="the model has no stem piano; choose from drums, bass"):
        load_model("htdemucs_ft", sources=["vocals", "piano"])
    assert reader.paths == []


def test_a_file_with_other_sources_than_its_card_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdemucs.checkpoint.load", lambda path: tiny_network())
    with pytest.raises(CheckpointError, match=r"its sources are drums, .* not bombo, redoblante, platillos"):
        load_model("drumsep")


def test_a_model_built_in_python_has_a_name_too() -> None:
    assert model_name(tiny_network()) == "model"


@pytest.mark.parametrize("name", ["drums.th", "drums.safetensors", "drums.pt", "drums.bag.yaml", "drums"])
def test_file(reader: Reader, here: Path, name: str) -> None:
    files(here, name)
    for spec in (name, f"./{name}", here / name, str(here / name), Path(name)):
        model, (path,) = reader.load(spec)
        assert path.resolve() == here / name
        assert model_name(model) == Path(name).stem


def test_home_folder_is_expanded(reader: Reader, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(files(here / "home", "mine.th")))
    assert reader.file("~/mine.th") == here / "home/mine.th"


def test_registered_name_wins_over_a_file(reader: Reader, here: Path) -> None:
    files(here, "hdemucs_mmi")
    assert reader.file("hdemucs_mmi").name == "75fc33f5-1941ce65.th"
    for spec in ("./hdemucs_mmi", Path("hdemucs_mmi")):
        assert reader.file(spec).resolve() == here / "hdemucs_mmi"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((SAFE,), SAFE),
        (("a.th",), "a.th"),
        ((SAFE, "config.json", "README.md", ".hidden.th"), SAFE),
        (("a.th", "b.th", "bag.yaml"), "bag.yaml"),
        ((SAFE, "training.yaml"), SAFE),
        (("a.th", "b.th", "bag.yaml", "training.yaml"), "bag.yaml"),
        (("initial.safetensors", "best.safetensors", "checkpoint.pt", "config.yaml"), "best.safetensors"),
    ],
)
def test_folder_with_one_model(reader: Reader, here: Path, names: tuple[str, ...], expected: str) -> None:
    folder = files(here / "mine", *names)
    for spec in (folder, str(folder), "mine", "mine/"):
        assert reader.file(spec).resolve() == folder / expected


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ((), "no .yaml bag and no .safetensors, .th, .pt"),
        (("a.wav", "training.yaml"), "no .yaml bag"),
        (("a.th", "b.safetensors"), "a.th, b.safetensors"),
        (("a.th", "1bag.yaml", "2bag.yaml"), "1bag.yaml, 2bag.yaml"),
    ],
)
def test_folder_without_one_model(here: Path, names: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(UnknownModelError, match="mine must contain one model") as caught:
        load_model(files(here / "mine", *names))
    assert complaint in str(caught.value)


def test_training_run_without_a_best_model(here: Path) -> None:
    run = files(here / "mine", "initial.safetensors", "checkpoint.pt", "config.yaml")
    with pytest.raises(UnknownModelError, match="mine is a training run without a best model yet"):
        load_model(run)


def test_broken_yaml_in_a_folder_is_not_passed_over(reader: Reader, here: Path) -> None:
    folder = files(here / "mine", SAFE)
    (folder / "bag.yaml").write_text("models: [")
    assert reader.file(folder).name == "bag.yaml"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("repo/955717e8", "955717e8-8e726e21.th"),
        ("repo/mine", "mine.yaml"),
        ("repo/plain", "plain.th"),
        ("repo/mine.th", "mine.th"),
    ],
)
def test_name_or_signature_in_a_folder_of_demucs(
    reader: Reader, here: Path, spec: str, expected: str
) -> None:
    files(here / "repo", "955717e8-8e726e21.th", "955717e9-8e726e21.th", "mine.yaml", "mine.th", "plain.th")
    assert reader.file(spec).resolve() == here / "repo" / expected


def test_yaml_that_unfolds_without_end_is_not_read(reader: Reader, here: Path) -> None:
    folder = files(here / "mine", SAFE)
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    (folder / "bag.yaml").write_text("\n".join([*lines, "models: *a59"]))
    assert reader.file(folder).name == "bag.yaml"


@pytest.mark.parametrize("spec", ["./mdx", "models/x", "x.th", "~/x", "x.yaml", Path("x"), "/no/such/x.pt"])
def test_missing_file(here: Path, spec: str | Path) -> None:
    with pytest.raises(UnknownModelError, match=r"does not exist; `hdemucs models` lists"):
        load_model(spec)


@pytest.mark.parametrize("spec", ["x/" * 5000, "~no_such_user/x.th"])
def test_path_that_the_system_refuses(spec: str) -> None:
    # Of a path that is too long, Python 3.14 says only that there is no such file.
    with pytest.raises(UnknownModelError, match=r"cannot be read|does not exist"):
        load_model(spec)


def test_name_that_the_system_refuses_as_a_path() -> None:
    with pytest.raises(UnknownModelError, match="no model named"):
        load_model("x" * 5000)


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="did you mean mdx_extra"):
        load_model("mdx_extr")


@pytest.mark.parametrize("spec", ["hf://", "hf://user", "hf://a/b/c", "hf://user/repo@", "hf://user/re po"])
def test_malformed_hub_address(spec: str) -> None:
    with pytest.raises(UnknownModelError, match="hf://user/repo@revision"):
        load_model(spec)


def test_the_best_model_of_a_run_is_named_after_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run has a `best.safetensors`; stems of two runs must not end in one folder `best`."""
    run = tmp_path / "finetune"
    run.mkdir()
    for name in ("initial.safetensors", "best.safetensors"):
        (run / name).touch()
    (tmp_path / "best.safetensors").touch()
    assert load_model(run / "best.safetensors").name == "finetune"
    assert load_model(run / "initial.safetensors").name == "initial"
    assert load_model(tmp_path / "best.safetensors").name == "best"
    monkeypatch.chdir(run)
    assert load_model("best.safetensors").name == "finetune"
