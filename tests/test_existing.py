"""What becomes of stems that exist; see also `test_batch.py`."""

import os
import subprocess
import sys
from pathlib import Path

from hdemucs.files import write_whole

KILLED = """
import os
from pathlib import Path
from hdemucs.existing import writable_places
with writable_places({name: Path(f"{name}.wav") for name in ("bass", "drums")}, "skip") as places:
    places["bass"].write_text("half")
    os._exit(9)
"""


def test_what_a_killed_process_wrote_for_nothing_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "bass.wav").write_text("whole")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, check=False)
    assert any(path.name.startswith(".") for path in tmp_path.iterdir())
    write_whole(tmp_path / "drums.wav", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bass.wav", "drums.wav"]
    assert (tmp_path / "bass.wav").read_text() == "whole"
