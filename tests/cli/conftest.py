from pathlib import Path

import pytest

from hdemucs.cli import main
from tests.cli.command import Result, Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, run in this process."""

    def run(*argv: str | Path) -> Result:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in argv])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def separate(run: Run, tiny: Path, tmp_path: Path) -> Run:
    """`hdemucs separate` with the tiny model, into `tmp_path/out`."""
    return lambda *argv: run("separate", "-n", tiny, "-o", tmp_path / "out", *argv)
