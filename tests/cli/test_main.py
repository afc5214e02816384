"""The command line as a whole."""

import importlib
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hdemucs.cli import COMMANDS, main
from hdemucs.cli.output import needs_extra
from hdemucs.errors import OptionError
from hdemucs.files import user_cache
from hdemucs.pretrained.cache import hub_dir
from tests.cli.command import Run, assert_fails


@pytest.mark.parametrize(
    "argv", [["song.mp3"], ["-n", "mdx", "song.mp3"], ["--two-stems=vocals", "song.mp3"], ["demo.mp3"]]
)
def test_a_forgotten_command_gets_a_hint(run: Run, argv: list[str]) -> None:
    assert_fails(run(*argv), 2, f"hdemucs separate {' '.join(argv)}")


def test_a_mistyped_command_gets_the_nearest(run: Run) -> None:
    assert_fails(run("separat", "song.mp3"), 2, "did you mean separate?")


def test_no_command(run: Run) -> None:
    result = run()
    assert (result.status, result.err) == (0, "")
    assert result.out == run("--help").out


def test_ctrl_c_while_importing(tmp_path: Path) -> None:
    code = """
        import signal, sys
        from hdemucs.__main__ import process
        class Finder:
            def find_spec(self, name, *rest):
                if name == "hdemucs.cli":
                    signal.raise_signal(signal.SIGINT)
        sys.meta_path.insert(0, Finder())
        process()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "hdemucs: interrupted\n")


def test_no_home_folder(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container whose user is a mere number."""
    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.chdir(tmp_path)
    assert run("models").status == 0
    assert user_cache().is_absolute()
    assert hub_dir().is_relative_to(user_cache())


def test_options_may_stand_between_tracks(run: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    result = run("separate", song, "-n", tiny, "-o", tmp_path / "out", other, "--flac")
    assert result.status == 0, result.err
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.flac")} == {"song", "other"}
    assert_fails(run("separate", song, "--nonsense", other), 2, "unknown option '--nonsense'")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["models", "nonsense"], ["nonsense"]),
        (["demo", "song.mp3"], ["unexpected argument 'song.mp3'"]),
        (["demo", "--nonsense"], ["unknown option '--nonsense'"]),
        (["demo", "--mod", "mdx"], ["unknown option '--mod'"]),
    ],
)
def test_unknown_arguments(run: Run, argv: list[str], words: list[str]) -> None:
    assert_fails(run(*argv), 2, *words)


def test_help_imports_no_heavy_packages() -> None:
    code = """
        import contextlib, sys
        from hdemucs.cli import build_parser, main
        for argv in (["--version"], ["--help"], *([name, "--help"] for name in build_parser()[1])):
            with contextlib.suppress(SystemExit):
                main(argv)
        heavy = {"torch", "numpy", "rich", "soundfile", "omegaconf", "scipy", "filelock"}
        print(sorted(heavy & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stderr == ""
    assert process.stdout.startswith("hdemucs ")
    assert process.stdout.count("show this help message") == 1 + len(COMMANDS)
    assert process.stdout.splitlines()[-1] == "[]"


def test_a_missing_package_is_one_line_with_the_remedy() -> None:
    with (
        pytest.raises(OptionError, match=r"no_such_package .* pip install '\.\[train\]'"),
        needs_extra("train"),
    ):
        importlib.import_module("no_such_package")


def test_the_callers_signal_handlers_are_restored(run: Run) -> None:
    def mine(*_: object) -> None:
        """Handle a signal."""

    before = signal.signal(signal.SIGTERM, mine)
    try:
        for argv in (["models"], ["separate", "missing.wav"]):
            run(*argv)
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_main_may_be_called_in_a_thread(run: Run) -> None:
    with ThreadPoolExecutor() as pool:
        assert pool.submit(main, ["models"]).result() == 0
