"""A test set of small songs, and two runs on it that tests only read."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from hdemucs.datasets.songs import find_songs
from hdemucs.evaluation.benchmark.methods import MixtureMethod, RatioMaskMethod
from hdemucs.evaluation.benchmark.run import evaluate
from tests.evaluation.songs import write_song


def write_musdb(folder: Path) -> Path:
    """Three songs of different lengths in MusDB-HQ's layout."""
    for index, seconds in enumerate((1.5, 2.1, 1.2)):
        write_song(folder / "test" / f"Song [{index}]", seconds, index)
    return folder


@pytest.fixture
def musdb(tmp_path: Path) -> Path:
    return write_musdb(tmp_path / "musdb")


@dataclass(frozen=True)
class Runs:
    """Folders of a test set, a run of the mixture on it, and one of the oracle on its last two songs."""

    musdb: Path
    mixture: Path
    oracle: Path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    musdb = write_musdb(folder / "musdb")
    songs = find_songs(musdb)
    evaluate(MixtureMethod(), songs, folder / "mixture", jobs=2)
    evaluate(RatioMaskMethod(), songs[1:], folder / "oracle", jobs=2)
    return Runs(musdb, folder / "mixture", folder / "oracle")
