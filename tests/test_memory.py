"""Memory of the process."""

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from hdemucs.memory import SWITCH, keep_freed_memory
from tests.audio.signals import noise
from tests.conftest import TINY_RATE

PEAK = """
import resource, sys
from hdemucs.cli import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


@pytest.mark.slow
def test_peak_memory_does_not_depend_on_the_length(tiny: Path, tmp_path: Path) -> None:
    """Of the whole process: 1 minute and 10 minutes."""
    minute = noise(60 * TINY_RATE).T.numpy()
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", TINY_RATE, 2) as file:
            for _ in range(minutes):
                file.write(minute)
        command = ["separate", path, "-n", tiny, "-o", tmp_path, "--json"]
        process = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, command)], capture_output=True, text=True, check=True
        )
        peaks.append(int(process.stdout.splitlines()[-1]))
    assert peaks[1] == pytest.approx(peaks[0], rel=0.15)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told anything")
@pytest.mark.parametrize(("switch", "calls"), [(None, 3), ("1", 3), ("0", 0)])
def test_the_allocator_can_be_left_alone(
    monkeypatch: pytest.MonkeyPatch, switch: str | None, calls: int
) -> None:
    class Library:
        called = 0

        def mallopt(self, option: int, value: int) -> None:
            self.called += 1

    library = Library()
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    monkeypatch.delenv(SWITCH, raising=False)
    if switch is not None:
        monkeypatch.setenv(SWITCH, switch)
    keep_freed_memory.cache_clear()
    keep_freed_memory()
    keep_freed_memory()
    assert library.called == calls
