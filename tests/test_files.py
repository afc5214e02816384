"""Files written whole or not at all, and what killed processes leave behind."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from hdemucs.errors import OutputError
from hdemucs.files import temporary_beside, whole_file, whole_folder, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for opened in (whole_file, whole_folder):
        with pytest.raises(KeyboardInterrupt), opened(path):
            raise KeyboardInterrupt
        assert names(path.parent) == []
    write_whole(path, "text")
    assert path.read_text() == "text"
    with pytest.raises(OutputError, match="cannot be written"), whole_folder(path):
        pass
    assert names(path.parent) == ["file"]


KILLED = """
import sys, time
from pathlib import Path
from hdemucs.files import temporary_beside
with temporary_beside(Path("a.wav")), temporary_beside(Path("b"), folder=True) as folder:
    (folder / "part").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_parts_of_killed_processes_are_removed_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=tmp_path, stdout=subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        mine = tmp_path / ".notes.part"
        mine.write_text("another program's")
        left = [name for name in names(tmp_path) if name != mine.name]
        assert sum(name.endswith(".part") for name in left) == 2
        write_whole(tmp_path / "new", "text")
        assert names(tmp_path) == sorted([*left, mine.name, "new"])
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    with temporary_beside(tmp_path / "c") as part:
        assert names(tmp_path) == sorted([mine.name, part.name, part.with_suffix(".lock").name, "new"])
        write_whole(tmp_path / "newer", "text")
        assert part.exists()
    assert names(tmp_path) == sorted([mine.name, "new", "newer"])


def test_what_a_process_left_before_it_wrote_anything_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.wav.0123abcd.lock").touch()
    write_whole(tmp_path / "new", "text")
    assert names(tmp_path) == ["new"]


def test_open_files_need_not_be_removed_or_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses both; releasing a lock removes its file there."""
    held: set[str] = set()
    unlink, replace = Path.unlink, Path.replace

    class Lock(FileLock):
        def acquire(self, *args: Any, **options: Any) -> Any:
            taken = super().acquire(*args, **options)
            held.add(self.lock_file)
            return taken

        def release(self, *args: Any, **options: Any) -> None:
            super().release(*args, **options)
            held.discard(self.lock_file)
            unlink(Path(self.lock_file), missing_ok=True)

    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *args: Any, **options: Any) -> Any:
            if str(path) in held:
                raise PermissionError(13, "in use")
            return function(path, *args, **options)

        return call

    monkeypatch.setattr("filelock.FileLock", Lock)
    monkeypatch.setattr(Path, "unlink", refusing(unlink))
    monkeypatch.setattr(Path, "replace", refusing(replace))
    (tmp_path / ".a.wav.0123abcd.part").touch()
    write_whole(tmp_path / "new", "text")
    with whole_folder(tmp_path / "newer") as folder:
        (folder / "file").touch()
    assert names(tmp_path) == ["new", "newer"]
    assert not held


def test_without_locks_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", refuse)
    write_whole(tmp_path / "new", "text")
    assert names(tmp_path) == ["new"]


def test_threads_do_not_remove_the_parts_of_each_other(tmp_path: Path) -> None:
    def survives(number: int) -> bool:
        with temporary_beside(tmp_path / str(number), folder=number % 2 == 0) as part:
            return part.exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(survives, range(2000)))
    assert names(tmp_path) == []
