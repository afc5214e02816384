"""`hdemucs models`."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import hdemucs
from hdemucs.checkpoint import save
from hdemucs.model import Network
from hdemucs.pretrained import DEFAULT_MODEL, cards
from tests.cli.command import Result, Run, assert_fails
from tests.conftest import TINY_RATE, tiny_network
from tests.reference import SOURCES, reference_pair

SETTINGS: dict[str, Any] = {"channels": 4, "depth": 5, "nfft": 1024, "samplerate": TINY_RATE, "segment": 1}


def test_all_models_are_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [card.name for card in cards()]
    assert len(names) >= 9
    table = run("models")
    assert table.status == 0
    assert [row.split()[0] for row in table.out.splitlines()[1:]] == names
    listed = run("models", "--json")
    assert [row["name"] for row in listed.json] == names
    assert all(set(row) >= {"sources", "sample_rate", "licence", "downloaded"} for row in listed.json)
    assert names[0] == DEFAULT_MODEL
    assert "ships" in table.out.splitlines()[1].split()
    assert " 19 MB " in table.out.splitlines()[1]
    assert "ships" not in table.out.splitlines()[2].split()
    assert listed.err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    narrow = re.sub(r"\x1b\[[0-9;]*m", "", run("models").out)
    assert all(name in narrow for name in names)
    assert max(map(len, narrow.splitlines())) <= 80


def test_downloading_an_unknown_model(run: Run) -> None:
    assert_fails(run("models", "download", "hdemucs_mni"), 1, "hdemucs_mmi")


def names(result: Result) -> list[str]:
    assert result.status == 0
    return [row["name"] for row in result.json]


def test_models_by_stem_and_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(run("models", "--stem", "guitar", "--json")) == ["htdemucs_6s"]
    best = names(run("models", "--stem", "vocals", "--sort", "sdr", "--json"))
    assert best[:2] == ["htdemucs_ft", "htdemucs"]
    assert "drumsep" not in best
    sizes = [row["files"][0]["size"] for row in run("models", "--sort", "size", "--json").json[:3]]
    assert sizes == sorted(sizes)
    assert names(run("models", "--sort", "name", "--json")) == sorted(card.name for card in cards())

    table = run("models", "--stem", "vocals").out
    assert "SDR of vocals" in table.splitlines()[0]
    assert "9.20" in next(line for line in table.splitlines() if "htdemucs_ft" in line)
    monkeypatch.setenv("FORCE_COLOR", "1")
    for columns in (40, 80):
        monkeypatch.setenv("COLUMNS", str(columns))
        narrow = re.sub(r"\x1b\[[0-9;]*m", "", run("models", "--stem", "vocals").out)
        assert max(map(len, narrow.splitlines())) <= columns
        assert "disputed" in narrow


def test_every_model_has_a_licence_for_the_table(run: Run) -> None:
    table = run("models").out.splitlines()
    assert all(card.terms and card.terms in line for card, line in zip(cards(), table[1:], strict=True))


def test_a_stem_that_no_model_separates(run: Run) -> None:
    assert_fails(run("models", "--stem", "gitar"), 2, "no model separates", "did you mean guitar?")
    assert_fails(run("models", "--stem", "zzz"), 2, "choose from drums, bass")
    assert_fails(run("models", "--sort", "beauty"), 2, "beauty")


def test_what_to_download_has_to_be_said(run: Run, tmp_path: Path) -> None:
    assert_fails(run("models", "download"), 2, "--all")
    assert_fails(run("models", "download", "htdemucs", "--all"), 2, "--all")


def test_import_of_a_file(run: Run, tmp_path: Path, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of demucs, with weights in float16, becomes a file of the same size and stems."""
    monkeypatch.chdir(tmp_path)
    package = write_package(tmp_path / "theirs" / "955717e8.th", half=True)
    result = run("models", "import", package)
    assert result.status == 0, result.err
    assert result.out.splitlines()[0] == "955717e8.safetensors"
    for words in ("HDemucs, ", " M parameters, ", "sources: drums, bass, other, vocals", "same stems"):
        assert words in result.out
    ours = tmp_path / "955717e8.safetensors"
    assert ours.stat().st_size < 1.2 * package.stat().st_size
    theirs = hdemucs.separate(song, model=package)
    assert all(torch.equal(stem, theirs[name]) for name, stem in hdemucs.separate(song, model=ours).items())

    assert_fails(run("models", "import", package), 1, f"{ours.name} exists", "overwrite")
    assert run("models", "import", package, "--overwrite").status == 0
    assert run("models", "import", package, "-o", tmp_path / "theirs").status == 0
    assert (tmp_path / "theirs" / ours.name).read_bytes() == ours.read_bytes()
    exact = save_file(tmp_path / "exact.safetensors", half=False)
    assert run("models", "import", exact, "-o", "new/copy.safetensors").status == 0
    assert (tmp_path / "new/copy.safetensors").stat().st_size > 1.8 * ours.stat().st_size


def test_import_of_a_bag(run: Run, tmp_path: Path, song: Path) -> None:
    for name in ("aaaa", "bbbb"):
        write_package(tmp_path / "theirs" / f"{name}.th")
    bag = tmp_path / "theirs" / "pair.yaml"
    weights = [[1, 0, 0.5, 1], [0, 1, 1, 0.25]]
    bag.write_text(yaml.safe_dump({"models": ["aaaa", "bbbb"], "weights": weights, "segment": 0.8}))
    for flags in ([], ["--overwrite"]):
        result = run("models", "import", bag, "-o", tmp_path / "ours", *flags)
        assert result.status == 0, result.err
    assert "bag of 2 HDemucs" in result.out
    assert "segments of 0.8 s" in result.out
    files = sorted(path.name for path in (tmp_path / "ours").iterdir())
    assert files == ["bag.yaml", "member1.safetensors", "member2.safetensors"]
    theirs, ours = (hdemucs.separate(song, model=path) for path in (bag, tmp_path / "ours"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert_fails(run("models", "import", bag, "-o", tmp_path / "ours"), 1, "ours exists")
    assert_fails(run("models", "import", bag, "-o", tmp_path / "x.safetensors"), 2, "becomes a folder")


def test_what_cannot_be_imported(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.safetensors"
    (tmp_path / "broken.th").write_bytes(b"not a model")
    assert_fails(run("models", "import", tmp_path / "broken.th", "-o", out), 1, "broken.th")
    assert_fails(run("models", "import", tmp_path / "none.th", "-o", out), 1, "none.th does not exist")
    assert_fails(run("models", "import", tiny, "-o", tmp_path / "out.th"), 2, "must end in .safetensors")
    assert_fails(run("models", "import", tiny, "-o", tmp_path / "broken.th/out.safetensors"), 1, "written")
    assert_fails(run("models", "import", tiny, tiny), 2, "unexpected argument")

    def save_another(model: Network, path: Path, half: bool) -> None:
        save(tiny_network(seed=1), path)

    monkeypatch.setattr("hdemucs.pretrained.convert.save", save_another)
    assert_fails(run("models", "import", tiny, "-o", out), 1, "stems would differ")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.th"]


def write_package(path: Path, half: bool = False) -> Path:
    """A package as demucs writes them."""
    reference, _ = reference_pair("HDemucs", **SETTINGS)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.half() if half else value for name, value in reference.state_dict().items()}
    package = {
        "klass": type(reference),
        "args": (),
        "kwargs": {"sources": SOURCES, **SETTINGS},
        "state": state,
    }
    torch.save(package, path)
    return path


def save_file(path: Path, half: bool) -> Path:
    _, network = reference_pair("HDemucs", **SETTINGS)
    save(network, path, half=half)
    return path
