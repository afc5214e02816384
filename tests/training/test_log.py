"""The log of a run on a full disk, or where it cannot be written at all."""

from pathlib import Path

import pytest

from hdemucs.cli import main
from tests.training.songs import SMALL, write_songs


@pytest.mark.parametrize("what", ["a folder", "a full disk"])
def test_a_log_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    songs, log = write_songs(tmp_path / "songs", 2), tmp_path / "run" / "train.log"
    if what == "a folder":
        log.mkdir(parents=True)
    elif not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    else:
        log.parent.mkdir()
        log.symlink_to("/dev/full")
    assert main(["train", "--config", "debug", f"data={songs}", "-o", str(log.parent), *SMALL]) == 1
    *_, last = said = capsys.readouterr().err.splitlines()
    assert last.startswith(f"hdemucs: {log}: cannot be written (")
    assert not [line for line in said if "Traceback" in line or "Errno" in line]
