"""Every example of the readme and the documentation is run, page by page, with local stand-ins."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hdemucs.audio import codecs
from hdemucs.cli import main
from hdemucs.pretrained import Card, cards
from hdemucs.training.config.published import config_names
from tests.docs.blocks import Block, blocks_of
from tests.docs.world import SHORT, SMALL, write_world
from tests.evaluation.reference import stand_in_for_ffmpeg
from tests.test_install import project
from tests.training.songs import make_tones

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = 10
"""Examples that no test runs: each says why, and there are few. Another one needs a good reason."""


@pytest.fixture
def folder(registry: dict[str, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the examples read, and a registry of models that lie on this machine."""
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("hdemucs.pretrained.registry.registry", lambda: registry)
    monkeypatch.setattr("hdemucs.synthesis.dataset.make", make_tones)
    stand_in_for_ffmpeg(tmp_path / "programs", monkeypatch)
    for module in ("song", "dataset"):
        monkeypatch.setattr(f"hdemucs.synthesis.{module}.require_sounds", lambda held_out=False: None)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, folder: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks_of(page):
        if block.reason is not None:
            continue
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)
        elif block.language == "sh":
            for words in block.commands():
                run(words, block)
        elif block.language == "yaml":
            assert yaml.safe_load(block.text), block
        else:
            pytest.fail(f"{block}: examples are sh, python or yaml, not {block.language!r}")


def run(words: list[str], block: Block) -> None:
    """Run a command; one that installs is compared with pyproject.toml instead."""
    match words:
        case ["hdemucs", *arguments]:
            assert main(shortened(arguments)) == 0, f"{block}: {' '.join(words)}"
        case ["pip", "install", wanted]:
            extra = re.fullmatch(r"\.(?:\[(\w+)\])?", wanted)
            assert extra is not None, f"{block}: installs something else"
            known = [None, *project()["optional-dependencies"]]
            assert extra[1] in known, f"{block}: there is no extra {extra[1]}"
        case _:
            pytest.fail(f"{block}: no test can run {' '.join(words)!r}; see NOT_RUN")


def shortened(arguments: list[str]) -> list[str]:
    """The same command with less to do."""
    match arguments:
        case ["train", "--config", config, *settings]:
            scratch = not any(setting.startswith("init=") for setting in settings)
            return ["train", "--config", config, *settings, *SHORT, *(SMALL if scratch else ())]
        case ["make-songs" | "remix", *_]:
            return [*arguments, "--songs", "2", "--seconds", "3", "--jobs", "1"]
        case _:
            return arguments


def test_few_examples_are_not_run() -> None:
    left_out = [block for page in PAGES for block in blocks_of(page) if block.reason is not None]
    assert len(left_out) == NOT_RUN, [f"{block}: {block.reason}" for block in left_out]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_is_found(page: Path) -> None:
    """Each fence belongs to a block that was found, and no code is set off by indents alone."""
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks_of(page))
    assert not re.search(r"\n\n {4}(?!\s*[-*])\S", text), "code is fenced, so that it is tested"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_site_has_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = [entry for item in yaml.safe_load(text)["nav"] for entry in item.values()]
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the extra `docs` is not installed")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "griffe" not in done.stdout + done.stderr


def test_the_tables_name_every_format_model_and_config() -> None:
    assert f"\n{codecs.markdown_table()}\n" in (ROOT / "docs" / "separate.md").read_text(encoding="utf-8")
    for page, names in (("models.md", [card.name for card in cards()]), ("finetune.md", config_names())):
        rows = re.findall(r"^\|.*", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert [name for name in names if not any(f"`{name}`" in row for row in rows)] == [], page
