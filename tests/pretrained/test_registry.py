"""The registry of models, and a contract for every card."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from hdemucs.errors import CheckpointError, HDemucsError, UnknownModelError
from hdemucs.pretrained import BEST_MODEL, DEFAULT_MODEL, Card, cards, download, get_card, is_downloaded
from hdemucs.pretrained.registry import CARDS, UNSUPPORTED, read_card

FOUR = ("drums", "bass", "other", "vocals")
DEMUCS_ROOT = "https://dl.fbaipublicfiles.com/demucs/"
TORCHAUDIO_ROOT = "https://download.pytorch.org/torchaudio/"
REMOTE = importlib.resources.files("demucs") / "remote"
FROM_DEMUCS = [card for card in cards() if card.files[0].url.startswith(DEMUCS_ROOT)]
FROM_TORCHAUDIO = [card for card in cards() if card.files[0].url.startswith(TORCHAUDIO_ROOT)]


def name_of(card: Card) -> str:
    return card.name


def demucs_files() -> dict[str, str]:
    """URL of each file by its signature, built from the list of demucs as demucs does."""
    addresses, root = {}, ""
    for line in (REMOTE / "files.txt").read_text().splitlines():
        if line.startswith("root:"):
            root = line.removeprefix("root:").strip()
        elif line and not line.startswith("#"):
            addresses[line.split("-")[0]] = DEMUCS_ROOT + root + line
    return addresses


def shares(members: list[str], weights: list[list[float]]) -> dict[str, list[Fraction]]:
    """Share of each member in each source."""
    totals = [sum(map(Fraction, column)) for column in zip(*weights, strict=True)]
    result = {member: [Fraction(0)] * len(totals) for member in members}
    for member, row in zip(members, weights, strict=True):
        parts = [Fraction(weight) / total for weight, total in zip(row, totals, strict=True)]
        result[member] = [old + new for old, new in zip(result[member], parts, strict=True)]
    return result


def test_the_default_ships_and_is_listed_first() -> None:
    first, *others = cards()
    assert first.name == DEFAULT_MODEL
    assert [card.name for card in others] == sorted(card.name for card in others if not card.shipped)
    assert is_downloaded(first)
    assert all(file.sha256 is not None for file in first.files)
    assert first.licence.startswith("MIT")
    assert first.size is not None
    assert first.size <= 20_000_000
    assert not get_card(BEST_MODEL).shipped


def test_a_damaged_file_that_ships_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = get_card(DEFAULT_MODEL)
    monkeypatch.setattr("hdemucs.pretrained.registry.HERE", tmp_path)
    assert not is_downloaded(card)
    for content in (None, b"", b"x" * (card.size or 0)):
        if content is not None:
            (tmp_path / "weights").mkdir(exist_ok=True)
            (tmp_path / "weights" / card.files[0].name).write_bytes(content)
        with pytest.raises(CheckpointError, match="reinstall hdemucs"):
            download(card)


@pytest.mark.parametrize("card", cards(), ids=name_of)
def test_every_card_is_complete_and_consistent(card: Card) -> None:
    assert len(set(card.sources)) == len(card.sources)
    assert len({file.name for file in card.files}) == len(card.files)
    for text in (card.summary, card.training_data, card.licence, card.paper, card.homepage):
        assert text.strip() == text
        assert text
    for score in card.published:
        values = [value for value in (score.overall, *(score.sources or {}).values()) if value is not None]
        assert values
        assert all(0 < value < 15 for value in values)
        if score.sources and score.overall:
            assert set(score.sources) == set(card.sources)
            assert score.overall == pytest.approx(sum(score.sources.values()) / len(card.sources), abs=0.011)


@pytest.mark.parametrize("card", FROM_DEMUCS, ids=name_of)
def test_members_are_those_of_demucs(card: Card) -> None:
    bag = yaml.safe_load((REMOTE / f"{card.name}.yaml").read_text())
    signatures = [file.name.split("-")[0] for file in card.files]
    assert signatures == list(dict.fromkeys(bag["models"]))
    assert card.segment == bag.get("segment")
    assert [file.url for file in card.files] == [demucs_files()[signature] for signature in signatures]

    ours = card.weights or [[1.0] * 4 for _ in card.files]
    theirs = bag.get("weights", [[1.0] * 4 for _ in bag["models"]])
    assert shares(signatures, [list(row) for row in ours]) == shares(bag["models"], theirs)


@pytest.mark.parametrize("card", FROM_DEMUCS, ids=name_of)
def test_checksums_begin_with_the_digits_that_demucs_publishes(card: Card) -> None:
    for file in card.files:
        published = Path(file.name).stem.split("-")[1]
        assert file.sha256 is not None
        assert len(file.sha256) in (8, 64)
        assert file.sha256.startswith(published)
        assert file.folder == "checkpoints"


@pytest.mark.parametrize("card", FROM_TORCHAUDIO, ids=name_of)
def test_torchaudio_models_share_its_place_in_the_cache(card: Card) -> None:
    (file,) = card.files
    assert file.folder == "torchaudio/models"
    assert file.url == f"{TORCHAUDIO_ROOT}models/{file.name}"


def test_the_card_of_drumsep_names_its_sources_in_english() -> None:
    card = get_card("drumsep")
    assert card.file_sources is not None
    pairs = dict(zip(card.file_sources, card.sources, strict=True))
    assert pairs == {"bombo": "kick", "redoblante": "snare", "platillos": "cymbals", "toms": "toms"}


def test_what_is_unknown_is_not_invented() -> None:
    (file,) = get_card("hdemucs_high_musdb").files
    assert (file.sha256, file.size) == (None, None)
    assert get_card("hdemucs_high_musdb").size is None
    assert get_card("mdx").size == 2 * 178048329 + 167334095 + 167918783


def test_score_on_the_test_set_of_musdb() -> None:
    assert get_card("hdemucs_mmi").musdb_sdr == 8.34
    assert (get_card("htdemucs").musdb_sdr, get_card("htdemucs_ft").musdb_sdr) == (8.80, 9.00)
    single = [card for card in cards() if len(card.files) == 1 and card.musdb_sdr is not None]
    assert max(single, key=lambda card: card.musdb_sdr or 0).name == BEST_MODEL
    # Their training data includes the test set.
    for name in ("mdx_extra", "hdemucs_high_musdb_plus"):
        assert get_card(name).musdb_sdr is None
        assert all("MusDB" not in score.data for score in get_card(name).published)


def test_every_demucs_model_is_registered_or_declined() -> None:
    names = {path.name.removesuffix(".yaml") for path in REMOTE.iterdir() if path.name.endswith(".yaml")}
    assert names == {card.name for card in FROM_DEMUCS} | set(UNSUPPORTED)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_model_names_the_closest_one(name: str) -> None:
    with pytest.raises(UnknownModelError, match=r"not supported: .* use \w+ instead$") as caught:
        get_card(name)
    closest = str(caught.value).split()[-2]
    assert get_card(closest).name == closest


@pytest.mark.parametrize(
    ("name", "nearest"), [("hdemucs_mm", "hdemucs_mmi"), ("MDX", "mdx"), ("mdxextra", "mdx_extra")]
)
def test_unknown_model_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownModelError, match=rf"did you mean {nearest}\?"):
        get_card(name)


def test_unknown_model_without_a_near_name_points_to_the_list() -> None:
    expected = f"there is no model named 'qwertz'; `hdemucs models` lists all {len(cards())}"
    with pytest.raises(UnknownModelError, match=f"^{expected}$"):
        get_card("qwertz")


def test_listing_the_models_imports_neither_torch_nor_the_hub() -> None:
    code = (
        "import sys, hdemucs.pretrained as p; p.cards(); p.is_downloaded(p.get_card('mdx'));"
        "print([name for name in ('torch', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def write_card(folder: Path, **changes: Any) -> Path:
    data = yaml.safe_load((CARDS / "mdx.yaml").read_text())
    data = {key: value for key, value in {**data, **changes}.items() if value is not None}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_card_takes_its_name_from_its_file(tmp_path: Path) -> None:
    card = read_card(write_card(tmp_path))
    assert card.name == "mine"
    assert card.weights == get_card("mdx").weights


FILE = {"url": "https://host/a.th"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"colour": "blue"}, "unknown keys: colour"),
        ({"files": [{**FILE, "sha": "0"}]}, r"files\[0\] has unknown keys: sha"),
        ({"licence": None}, "has no licence"),
        ({"files": [{"sha256": "01234567"}]}, r"files\[0\] has no url"),
        ({"sample_rate": "44100"}, "sample_rate must be int"),
        ({"sample_rate": True}, "sample_rate must be int"),
        ({"sources": "drums"}, "sources must be"),
        ({"sources": ["drums", 2]}, r"sources\[1\] must be str"),
        ({"sources": []}, "must not be empty"),
        ({"weights": [[1, 1, 1, 1]]}, "4 rows of 4 numbers"),
        ({"weights": [[1, 1, 1]] * 4}, "4 rows of 4 numbers"),
        ({"weights": [[1, 1, 1, 0]] * 4}, "weights of vocals"),
        ({"weights": [[1, 1, 1, "x"]] * 4}, r"weights\[0\]\[3\] must be float"),
        ({"segment": 10**400}, "too large"),
        ({"files": [{**FILE, "sha256": "123"}] * 4}, "sha256 of a.th"),
        ({"files": [{**FILE, "sha256": 12345678}] * 4}, r"files\[0\].sha256 must be str"),
        ({"files": [{"url": "a.th"}] * 4}, "not a web address"),
        ({"published": [{"data": "d", "where": "w", "sources": {"flute": 1.0}}]}, "flute"),
        ({"name": "other"}, "differ"),
        ({"file_sources": ["a"]}, "file_sources must have 4 names"),
    ],
)
def test_bad_card_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(HDemucsError, match=complaint) as caught:
        read_card(write_card(tmp_path, **changes))
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b", "files: [", "\0"])
def test_file_that_is_not_a_card_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(HDemucsError, match=r"broken\.yaml is invalid") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)
