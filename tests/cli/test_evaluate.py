"""The command `hdemucs evaluate`."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import soundfile

from hdemucs import checkpoint
from hdemucs.cli import main
from hdemucs.evaluation.benchmark.methods import MixtureMethod
from hdemucs.model import HDemucs
from hdemucs.pretrained import DEFAULT_MODEL
from tests.cli.command import Run, assert_fails
from tests.evaluation.songs import RATE, SOURCES, write_song


@pytest.fixture
def musdb(tmp_path: Path) -> Path:
    for index in range(2):
        write_song(tmp_path / "musdb" / "test" / f"Song {index}", 2.2 + index, index)
    return tmp_path / "musdb"


def test_a_run_is_reported_and_resumed(
    musdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", "--model", "oracle:irm", "--musdb", str(musdb), "-o", str(out), "--jobs", "2"]
    assert main([*command, "--plots"]) == 0
    table = capsys.readouterr().out
    assert "oracle:irm, 2 songs, dB" in table
    assert table == (out / "table.md").read_text()
    assert {path.name for path in out.iterdir()} == {
        "run.json",
        "sdr_by_song.png",
        "sdr_by_source.png",
        "sdr_over_time.png",
        "summary.json",
        "table.md",
        "tracks",
    }
    before = (out / "tracks" / "Song 0.json").stat().st_mtime_ns
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["songs"] == 2
    assert captured.err == f"scores are in {out} (2 of 2 from an earlier run)\n"
    assert (out / "tracks" / "Song 0.json").stat().st_mtime_ns == before


def test_a_model_file(musdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = HDemucs(
        SOURCES, channels=4, depth=5, n_fft=1024, attention_starts=99, sample_rate=RATE, segment=1
    )
    checkpoint.save(model.eval(), tmp_path / "tiny.safetensors")
    command = ["evaluate", "-n", str(tmp_path / "tiny.safetensors"), "--musdb", str(musdb)]
    assert main([*command, "-o", str(tmp_path / "out"), "--segment", "1"]) == 0
    assert "tiny, 2 songs" in capsys.readouterr().out


def test_two_runs_are_compared(musdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("mixture", "oracle:irm"):
        out = str(tmp_path / model.replace(":", "_"))
        assert main(["evaluate", "--model", model, "--musdb", str(musdb), "-o", out]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--compare", str(tmp_path / "mixture"), str(tmp_path / "oracle_irm")]) == 0
    assert "A is mixture, B is oracle:irm" in capsys.readouterr().out


def test_a_failed_song_gives_a_nonzero_exit_status(
    musdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(musdb / "test" / "Song 0" / "vocals.wav", [[0.0, 0.0]], RATE)
    out = str(tmp_path / "out")
    assert main(["evaluate", "--model", "mixture", "--musdb", str(musdb), "-o", out]) == 1
    captured = capsys.readouterr()
    assert "mixture, 1 song," in captured.out
    assert "Song 0 was not scored" in captured.err
    assert "scores are in" in captured.err
    shutil.rmtree(out)
    soundfile.write(musdb / "test" / "Song 1" / "vocals.wav", [[0.0, 0.0]], RATE)
    assert main(["evaluate", "--model", "mixture", "--musdb", str(musdb), "-o", out]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "scores are in" not in captured.err


def test_the_default_model_is_scored(musdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []

    def find_method(model: str, **_: object) -> MixtureMethod:
        scored.append(model)
        return MixtureMethod()

    monkeypatch.setattr("hdemucs.evaluation.benchmark.methods.find_method", find_method)
    assert main(["evaluate", "--musdb", str(musdb), "-o", str(tmp_path / "out")]) == 0
    assert scored == [DEFAULT_MODEL]


def test_plots_are_refused_before_scoring(
    musdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    out = tmp_path / "out"
    assert main(["evaluate", "-n", "mixture", "--musdb", str(musdb), "-o", str(out), "--plots"]) != 0
    assert "plots need matplotlib" in capsys.readouterr().err
    assert not out.exists()


def test_an_engine_that_is_missing_is_refused_before_scoring(
    musdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "museval", None)
    out = tmp_path / "out"
    assert main(["evaluate", "--engine", "museval", "--musdb", str(musdb), "-o", str(out)]) == 2
    captured = capsys.readouterr()
    assert "pip install '.[museval]'" in captured.err
    assert captured.err.count("\n") == 1
    assert not out.exists()


def test_the_help_has_groups_in_the_order_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    lines = capsys.readouterr().out.splitlines()
    groups = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["options:", "what to evaluate:", "separation:", "scoring:", "output:"]


def test_a_terminal_gets_a_table(
    musdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["evaluate", "-n", "mixture", "--musdb", str(musdb), "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "source" in shown
    assert "|" not in shown
    assert "|" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs --musdb PATH and --out FOLDER"),
        (["--musdb", "MUSDB", "-o", "OUT", "-n", "mixture", "--estimates", "x"], "not allowed with"),
        (["--musdb", "MUSDB", "-o", "OUT", "--engine", "mir_eval"], "choose hdemucs or museval"),
        (["--compare", "OUT", "OUT", "--json"], "--compare prints a table of two runs"),
        (["--musdb", "MUSDB", "-o", "OUT", "-n", "oracle:magic"], "no method 'oracle:magic'"),
        (["--musdb", "/nowhere", "-o", "OUT", "-n", "mixture"], "zenodo"),
        (["--musdb", "MUSDB", "-o", "OUT", "-n", "mixture", "-j", "0"], "jobs"),
        (["--compare", "/nowhere", "OUT"], "no scores"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], message: str, musdb: Path, tmp_path: Path, run: Run
) -> None:
    places = {"MUSDB": musdb, "OUT": tmp_path / "out"}
    result = run("evaluate", *(places.get(argument, argument) for argument in arguments))
    assert_fails(result, result.status, message)
    assert result.status != 0
