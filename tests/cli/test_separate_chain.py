"""`hdemucs separate --then`."""

from pathlib import Path

import pytest
import torch

from hdemucs import audio
from hdemucs.checkpoint import save
from hdemucs.separator import Separator
from tests.audio.signals import gather
from tests.cli.command import Run, assert_fails, files_below, write
from tests.test_chain import ALL, parts_network


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "parts.safetensors"
    save(parts_network(), path)
    return path


def test_parts_of_several_tracks(separate: Run, song: Path, tiny: Path, parts: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.wav")
    result = separate(song, other, "--then", f"{parts}:drums", "--bits", "32f", "--clip", "none", "--json")
    assert result.status == 0
    assert result.json["model"] == "tiny+parts"
    assert [list(track["stems"]) for track in result.json["tracks"]] == [ALL, ALL]
    folder = tmp_path / "out/tiny+parts"
    assert files_below(folder) == sorted(f"{name}/{stem}.wav" for name in ("other", "song") for stem in ALL)
    stems = Separator(tiny, then={"drums": parts}).separate(song)
    for name in ALL:
        assert torch.equal(gather(audio.open(folder / "song" / f"{name}.wav")), stems[name])


def test_stems_are_chosen_from_the_results(separate: Run, song: Path, parts: Path, tmp_path: Path) -> None:
    assert separate(song, "--then", f"{parts}:drums", "--stems", "bass,kick").status == 0
    assert files_below(tmp_path / "out/tiny+parts/song") == ["bass.wav", "kick.wav"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--then", "drumsep"], ["--then", "'drumsep' is not MODEL:STEM", "drumsep:drums"]),
        (["--then", "hf://user/repo"], ["not MODEL:STEM"]),
        (["--then", ":drums"], ["not MODEL:STEM"]),
        (["--then", "drumsepp:drums"], ["drumsepp", "drumsep"]),
        (["--then", "PARTS:drum"], ["no stem drum", "choose from drums, bass, other, vocals"]),
        (["--then", "PARTS:drums", "--then", "PARTS:drums"], ["--then separates drums twice"]),
        (["--then", "PARTS:drums", "--then", "PARTS:bass"], ["kick, snare would be there twice"]),
        (["--then", "PARTS:drums", "--stems", "drums"], ["drums is separated further", "kick, snare"]),
    ],
)
def test_bad_chains(separate: Run, song: Path, parts: Path, flags: list[str], words: list[str]) -> None:
    flags = [flag.replace("PARTS", str(parts)) for flag in flags]
    status = 1 if "drumsepp:drums" in flags else 2
    assert_fails(separate(song, *flags), status, *words)
