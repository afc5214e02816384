"""The command as a process: signals, full disks, closed streams."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.audio.signals import noise
from tests.cli.command import files_below, stem_files, write
from tests.conftest import TINY_RATE

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "hdemucs"]


def start(*argv: str | Path, **options: Any) -> "subprocess.Popen[str]":
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([*COMMAND, *map(str, argv)], **options)


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_a_signal_leaves_no_files(tiny: Path, tmp_path: Path, number: signal.Signals, jobs: int) -> None:
    song = write(tmp_path / "song.wav", noise(120 * TINY_RATE))
    out = tmp_path / "out"
    process = start("separate", "-n", tiny, song, "-o", out, "--shifts", "20", "-j", str(jobs))
    while not any(path.stat().st_size for path in out.rglob(".*.part")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    printed, complaint = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert files_below(out) == []
    assert printed == ""
    assert "Traceback" not in complaint
    assert complaint.count("\n") <= 1


def test_a_full_disk_fails_only_the_track(tiny: Path, tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    songs = [
        write(tmp_path / f"{name}.wav", noise(length))
        for name, length in (("long", 20 * TINY_RATE), ("short", 4000))
    ]
    out = tmp_path / "out"
    process = start("separate", "-n", tiny, *songs, "-o", out, "--json", preexec_fn=limit)
    printed, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert [track["status"] for track in json.loads(printed)["tracks"]] == ["failed", "written"]
    assert complaint.splitlines()[0].startswith(f"hdemucs: cannot write {out / 'tiny/long'}")
    assert "Traceback" not in complaint
    assert files_below(out) == stem_files("short")


def test_a_closed_pipe_is_not_an_error_message(tiny: Path, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav")
    process = start("separate", "-n", tiny, song, "-o", tmp_path / "out", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    complaint = process.stderr.read()
    process.wait(timeout=30)
    assert "rror" not in complaint
    assert files_below(tmp_path / "out") == stem_files("song")


def test_stdout_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        process = start("models", stdout=full)
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 1
    assert complaint.count("\n") <= 2
    assert "No space left" in complaint
    assert "Traceback" not in complaint


def test_a_closed_stderr_does_not_spill_into_stdout(tiny: Path, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav")
    shell = '"$@" 2>&-'
    command = [*COMMAND, "separate", "-n", str(tiny), str(song), str(tmp_path / "no.wav"), "--json"]
    run = subprocess.run(
        ["sh", "-c", shell, "sh", *command, "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert run.returncode == 1
    assert [track["status"] for track in json.loads(run.stdout)["tracks"]] == ["written", "failed"]
