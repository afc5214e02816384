"""`hdemucs demo`."""

from pathlib import Path

import pytest

from hdemucs import audio
from hdemucs.errors import AudioError
from hdemucs.pretrained import BEST_MODEL, DEFAULT_MODEL
from hdemucs.tracks import find_tracks
from tests.audio.signals import gather
from tests.cli.command import Run, assert_fails, files_below, stem_files
from tests.reference import SOURCES

DEMO_MIXTURE = f"{DEFAULT_MODEL}/demo/mixture.wav"


@pytest.mark.slow
def test_the_clip_is_separated_and_scored(run: Run, tmp_path: Path) -> None:
    result = run("demo", "-o", tmp_path)
    assert result.status == 0
    assert files_below(tmp_path) == sorted([*stem_files("demo", model=DEFAULT_MODEL), DEMO_MIXTURE])
    rows = {row.split()[0]: row.split() for row in result.out.splitlines()[1:]}
    assert list(rows) == [*SOURCES, "mean"]
    for name, row in rows.items():
        assert float(row[1]) > float(row[3]), f"{name} is no better than the mixture"
    mixture = gather(audio.open(tmp_path / DEMO_MIXTURE))
    assert 20 * 44100 <= mixture.shape[-1] <= 30 * 44100
    assert DEMO_MIXTURE in result.err
    assert f"--model {BEST_MODEL}" in result.err


def test_other_models(run: Run, tiny: Path, tmp_path: Path) -> None:
    result = run("demo", "-n", tiny, "-o", tmp_path)
    assert result.status == 0
    assert files_below(tmp_path / "tiny") == sorted(f"demo/{name}.wav" for name in [*SOURCES, "mixture"])
    assert "separated with the model tiny" in result.err
    assert_fails(run("demo", "-n", tiny, "-o", tmp_path), 1, "demo/", "--overwrite", "--skip-existing")
    assert run("demo", "-n", tiny, "-o", tmp_path, "--overwrite").status == 0
    with pytest.raises(AudioError, match="besides stems of earlier runs"):
        find_tracks([tmp_path], Path("elsewhere"))


def test_unwritable_output_folder(run: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_fails(run("demo", "-n", tiny, "-o", tmp_path / "file"), 1, "file")
