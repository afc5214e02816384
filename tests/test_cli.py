"""The command as people type it: what is written, what is printed where, and how it ends."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import hdemucs
from hdemucs import audio
from hdemucs.checkpoint import save
from hdemucs.cli import main
from hdemucs.model import HDemucs
from hdemucs.pretrained import BEST_MODEL, DEFAULT_MODEL, cards
from tests.audio.signals import gather, noise, tones
from tests.conftest import TINY_RATE, tiny_network
from tests.reference import SOURCES


@dataclass
class Outcome:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def statuses(self) -> dict[str, str]:
        return {Path(track["track"]).name: track["status"] for track in self.json["tracks"]}


Run = Callable[..., Outcome]
DEMO_MIXTURE = f"{DEFAULT_MODEL}/demo/mixture.wav"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """The command, in this process."""

    def run(*argv: str | Path) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in argv])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        return Outcome(status, *capsys.readouterr())

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def separate(run: Run, tiny: Path, tmp_path: Path) -> Run:
    """`hdemucs separate` with the tiny model, into `tmp_path/out`."""
    return lambda *argv: run("separate", "-n", tiny, "-o", tmp_path / "out", *argv)


def write(path: Path, samples: Tensor | np.ndarray | None = None, rate: int = TINY_RATE) -> Path:
    """An audio file of what its suffix says, in float where it can be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise(4000) if samples is None else samples
    subtype = "FLOAT" if path.suffix == ".wav" else None
    # Opened by Python, since libsndfile has ideas of its own about some names.
    with path.open("wb") as file:
        format = path.suffix[1:].upper()
        soundfile.write(file, np.asarray(samples).T, rate, format=format, subtype=subtype)
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def stem_files(track: str, ext: str = "wav", model: str = "tiny") -> list[str]:
    return sorted(f"{model}/{track}/{name}.{ext}" for name in SOURCES)


def read(folder: Path, ext: str = "wav") -> Tensor:
    return torch.stack([gather(audio.open(folder / f"{name}.{ext}")) for name in SOURCES])


def assert_refused(outcome: Outcome, status: int, *words: str | Path) -> None:
    """One line that says what and why, on stderr alone."""
    assert outcome.status == status
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("hdemucs")
    for word in words:
        assert str(word) in outcome.err


# --- what is written


def test_stems_are_where_demucs_puts_them(separate: Run, song: Path, tmp_path: Path) -> None:
    outcome = separate(song)
    assert outcome.status == 0
    assert files_below(tmp_path / "out") == stem_files("song")
    for path in (tmp_path / "out").rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames) == (TINY_RATE, 2, round(2.6 * TINY_RATE))
        assert info.subtype == "PCM_16"
        assert str(path) in outcome.out


def test_files_are_what_python_returns(separate: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"segment": 0.7, "overlap": 0.4, "shifts": 2}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    assert separate(song, "--bits", "32f", *flags).status == 0
    expected = hdemucs.separate(song, model=tiny, **options)
    assert torch.equal(read(tmp_path / "out/tiny/song"), torch.stack(list(expected.values())))


def test_runs_repeat_exactly(separate: Run, song: Path, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        assert separate(song, "--overwrite").status == 0
        contents.append([path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.wav"))])
    assert len(contents[0]) == 4
    assert contents[0] == contents[1]


def test_the_default_folder_is_here(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "music/song.wav")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/tiny.safetensors").symlink_to(tiny)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outcome = run("separate", "--model", "../models/tiny.safetensors", "../music/song.wav")
    assert outcome.status == 0
    assert files_below(tmp_path / "here/separated") == stem_files("song")
    assert "separated/tiny/song/vocals.wav" in outcome.out


@pytest.mark.parametrize(
    ("flags", "suffix", "format", "subtype"),
    [
        (["--format", "wav"], "wav", "WAV", "PCM_16"),
        (["--bits", "24"], "wav", "WAV", "PCM_24"),
        (["--bits", "32f"], "wav", "WAV", "FLOAT"),
        (["--format", "flac", "--bits", "24"], "flac", "FLAC", "PCM_24"),
        (["--format", "mp3"], "mp3", "MP3", "MPEG_LAYER_III"),
        (["--format", "ogg"], "ogg", "OGG", "VORBIS"),
        # As a user of demucs types it.
        (["--mp3"], "mp3", "MP3", "MPEG_LAYER_III"),
        (["--mp3", "--mp3-bitrate", "48"], "mp3", "MP3", "MPEG_LAYER_III"),
        (["--flac"], "flac", "FLAC", "PCM_16"),
        (["--flac", "--int24"], "flac", "FLAC", "PCM_24"),
        (["--int24"], "wav", "WAV", "PCM_24"),
        (["--float32"], "wav", "WAV", "FLOAT"),
        (["--clip-mode", "clamp"], "wav", "WAV", "PCM_16"),
        (
            ["-d", "cpu", "-j", "2", "--shifts", "0", "--overlap", "0.1", "--segment", "1"],
            "wav",
            "WAV",
            "PCM_16",
        ),
    ],
)
def test_formats_and_the_flags_of_demucs(
    separate: Run, tmp_path: Path, flags: list[str], suffix: str, format: str, subtype: str
) -> None:
    assert separate(*flags, write(tmp_path / "song.wav")).status == 0
    assert files_below(tmp_path / "out") == stem_files("song", suffix)
    for path in (tmp_path / "out").rglob("*.*"):
        info = soundfile.info(path)
        assert (info.format, info.subtype) == (format, subtype)


def test_bitrate_sets_the_size(separate: Run, song: Path, tmp_path: Path) -> None:
    sizes = []
    for bitrate in (32, 64):
        assert separate(song, "--format", "mp3", "--bitrate", str(bitrate), "--overwrite").status == 0
        sizes.append((tmp_path / "out/tiny/song/vocals.mp3").stat().st_size)
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize(("mode", "peak"), [("rescale", 1), ("clamp", 1), ("none", 3)])
def test_clip_modes(separate: Run, tmp_path: Path, mode: str, peak: float) -> None:
    loud = write(tmp_path / "loud.wav", 100 * noise(8000))
    bits = ["--bits", "32f"] if mode == "none" else []
    outcome = separate(loud, "--clip", mode, *bits)
    assert outcome.status == 0
    stems = read(tmp_path / "out/tiny/loud")
    quiet = hdemucs.separate(loud, model=tiny_network())
    wanted = torch.stack(list(quiet.values()))
    assert wanted.abs().max() > 3
    if mode == "rescale":
        wanted = wanted * (1 - 2**-15) / wanted.abs().max()
        assert re.search(r"turned down \d+\.\d dB", outcome.out)
    elif mode == "clamp":
        wanted = wanted.clamp(-1, 1)
    torch.testing.assert_close(stems, wanted, rtol=1e-5, atol=2**-15)
    assert (stems.abs().max() > 1) == (peak > 1)


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--stems", "vocals,drums"], ["drums", "vocals"]),
        (["--stems", " bass , "], ["bass"]),
        (["--two-stems", "vocals"], ["no_vocals", "vocals"]),
        (["--two-stems=drums"], ["drums", "no_drums"]),
    ],
)
def test_stems_are_picked(
    separate: Run, song: Path, tiny: Path, tmp_path: Path, flags: list[str], names: list[str]
) -> None:
    assert separate(song, *flags, "--bits", "32f").status == 0
    assert files_below(tmp_path / "out") == [f"tiny/song/{name}.wav" for name in names]
    everything = hdemucs.separate(song, model=tiny)
    everything_but = {f"no_{name}": sum(everything.values()) - stem for name, stem in everything.items()}
    for name in names:
        got = gather(audio.open(tmp_path / f"out/tiny/song/{name}.wav"))
        torch.testing.assert_close(got, {**everything_but, **everything}[name], rtol=0, atol=1e-5)


def test_a_bag_runs_only_what_is_needed(
    run: Run, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tiny_network(1), tmp_path / "one.safetensors")
    save(tiny_network(2), tmp_path / "two.safetensors")
    (tmp_path / "bag.yaml").write_text("{models: [one, two], weights: [[1, 1, 0, 0], [0, 1, 1, 1]]}")
    calls: list[int] = []
    forward = HDemucs.forward

    def counted(model: HDemucs, mix: Tensor) -> Tensor:
        calls.append(id(model))
        return forward(model, mix)

    monkeypatch.setattr(HDemucs, "forward", counted)
    members = {}
    for flag in ("--stems=drums", "--stems=vocals,other", "--two-stems=drums"):
        calls.clear()
        assert run("separate", "-n", tmp_path / "bag.yaml", "-o", tmp_path / flag, song, flag).status == 0
        members[flag] = len(set(calls))
    assert members == {"--stems=drums": 1, "--stems=vocals,other": 1, "--two-stems=drums": 2}
    assert files_below(tmp_path / "--stems=drums") == ["bag/song/drums.wav"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{track}/{track} - {stem}.{ext}", "song.v2/song.v2 - vocals.wav"),
        ("{stem}/{track}.{trackext}.{ext}", "vocals/song.v2.flac.wav"),
        ("vocals", "vocals"),
    ],
)
def test_names_follow_the_template(separate: Run, tmp_path: Path, template: str, expected: str) -> None:
    song = write(tmp_path / "song.v2.flac")
    assert separate(song, "--stems", "vocals", "--filename", template).status == 0
    assert files_below(tmp_path / "out/tiny") == [expected]


def test_folders_are_walked_but_not_into_earlier_stems(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.wav", "cd 2/two.FLAC", "cd 2/.hidden.wav"):
        write(tmp_path / name)
    (tmp_path / "cover.jpg").write_bytes(b"no audio")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        outcome = run("separate", "-n", tiny, ".", "--overwrite", "--json")
        assert outcome.status == 0
        assert outcome.statuses == {"one.wav": "written", "two.FLAC": "written"}
    assert files_below(tmp_path / "separated") == stem_files("cd 2/two") + stem_files("one")


NAMES = [
    "with  two spaces",
    "[bold]brackets[red]",
    "[",
    "{track} {stem} {0}",
    "ünïcödé 日本語 🎵",
    "-n",
    "--mp3",
    "..",
    "%s 'quoted' \"twice\" $HOME ~ * ? ;",
    ":smile: \\ back",
    "x" * 240,
    "line\nbreak",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_with_traps(
    run: Run, tiny: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(f"{name}.wav"))
    outcome = run("separate", "-n", tiny, "--stems=bass", "--filename={stem} {trackext}", "--", f"{name}.wav")
    assert outcome.status == 0
    separated = run("separate", "-n", tiny, "--stems=bass", "--json", "--", f"{name}.wav")
    if name == "..":
        assert_refused(separated, 2, "leads out")
        return
    assert separated.status == 0
    assert separated.json["tracks"][0]["track"] == f"{name}.wav"
    assert Path(separated.json["tracks"][0]["stems"]["bass"]).is_file()
    assert Path("separated/tiny", name, "bass.wav").is_file()
    if "\n" not in name:
        # Whole, however long, so that it can be searched for and copied.
        assert f"{name}.wav" in outcome.out


def test_names_that_stdout_cannot_show(
    separate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
    outcome = separate(write(tmp_path / "ü.wav"))
    assert outcome.status == 0
    assert "\\xfc" in outcome.out


def test_links_are_followed(separate: Run, song: Path, tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to(song)
    assert separate(tmp_path / "link.wav").status == 0
    assert files_below(tmp_path / "out") == stem_files("link")


def test_the_same_file_twice_is_separated_once(separate: Run, tmp_path: Path) -> None:
    song = write(tmp_path / "music/song.wav")
    outcome = separate(song, tmp_path / "music", song, "--json")
    assert outcome.status == 0
    assert [track["track"] for track in outcome.json["tracks"]] == [str(song)]


# --- what is printed


def test_options_may_stand_between_songs(run: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    outcome = run("separate", song, "-n", tiny, "-o", tmp_path / "out", other, "--flac")
    assert outcome.status == 0, outcome.err
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.flac")} == {"song", "other"}
    assert_refused(run("separate", song, "--nonsense", other), 2, "no option '--nonsense'")


def test_json_alone_is_on_stdout(separate: Run, song: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    outcome = separate(song, missing, "--two-stems=bass", "--json")
    assert outcome.status == 1
    base = tmp_path / "out/tiny/song"
    written, failed = outcome.json["tracks"]
    assert outcome.json["model"] == "tiny"
    assert written == {
        "track": str(song),
        "status": "written",
        "stems": {"bass": f"{base}/bass.wav", "no_bass": f"{base}/no_bass.wav"},
        "seconds": 2.6,
        "gain": 1.0,
    }
    assert (failed["track"], failed["status"]) == (str(missing), "failed")
    assert str(missing) in failed["error"]


def test_output_without_a_terminal_is_plain(separate: Run, song: Path) -> None:
    outcome = separate(song)
    assert "\x1b" not in outcome.out + outcome.err
    header, *rows = outcome.out.splitlines()
    assert header.split() == ["track", "result", "files"]
    assert len(rows) == 4
    assert "written 2.6 s" in rows[0]
    # One note on the model, no remains of a progress bar.
    assert outcome.err.count("\n") == 1
    assert "tiny" in outcome.err


def test_progress_has_one_bar_with_time_left(
    separate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    songs = [write(tmp_path / f"{name}.wav", noise(3 * TINY_RATE)) for name in ("one", "[b]two", "x" * 100)]
    outcome = separate(*songs, "--json")
    assert outcome.status == 0
    assert len(outcome.json["tracks"]) == 3
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", outcome.err)
    assert "[b]two" in shown
    assert re.search(r"100% \d:\d\d:\d\d", shown)
    frames = re.split(r"[\r\n]+", shown)
    percents = [int(percent) for frame in frames for percent in re.findall(r"(\d+)%", frame)]
    assert percents == sorted(percents), "one bar for all tracks, never back to 0"
    assert max(frame.count("%") for frame in frames) == 1
    assert max(map(len, frames)) <= 80
    assert outcome.err.endswith("\x1b[2K"), "the bar is wiped away at the end"


def test_a_run_without_success_does_not_claim_any(separate: Run, tmp_path: Path) -> None:
    outcome = separate(tmp_path / "missing.wav")
    assert outcome.status == 1
    assert "separated with" not in outcome.err
    assert "failed" in outcome.out


def test_models_are_all_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [card.name for card in cards()]
    assert len(names) >= 9
    table = run("models")
    assert table.status == 0
    assert [row.split()[0] for row in table.out.splitlines()[1:]] == names
    listed = run("models", "--json")
    assert [row["name"] for row in listed.json] == names
    assert all(set(row) >= {"sources", "sample_rate", "licence", "downloaded"} for row in listed.json)
    assert names[0] == DEFAULT_MODEL
    assert "ships" in table.out.splitlines()[1].split()
    assert "ships" not in table.out.splitlines()[2].split()
    assert listed.err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    narrow = re.sub(r"\x1b\[[0-9;]*m", "", run("models").out)
    assert all(name in narrow for name in names)
    assert max(map(len, narrow.splitlines())) <= 80


# --- the model and the clip that ship


def test_without_a_model_the_one_that_ships_is_used_and_named(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", noise(44100), 44100)
    outcome = run("separate", "-o", tmp_path / "out", path)
    assert outcome.status == 0
    assert files_below(tmp_path / "out") == stem_files("song", model=DEFAULT_MODEL)
    assert outcome.err.count("\n") == 1
    assert f"separated with {DEFAULT_MODEL}" in outcome.err
    assert f"--model {BEST_MODEL}" in outcome.err


def test_demo_says_how_well_the_clip_is_separated(run: Run, tmp_path: Path) -> None:
    outcome = run("demo", "-o", tmp_path)
    assert outcome.status == 0
    assert files_below(tmp_path) == sorted([*stem_files("demo", model=DEFAULT_MODEL), DEMO_MIXTURE])
    rows = {row.split()[0]: row.split() for row in outcome.out.splitlines()[1:]}
    assert list(rows) == [*SOURCES, "mean"]
    for name, row in rows.items():
        assert float(row[1]) > float(row[3]), f"{name} is separated worse than not at all"
    mixture = gather(audio.open(tmp_path / DEMO_MIXTURE))
    assert 20 * 44100 <= mixture.shape[-1] <= 30 * 44100
    assert DEMO_MIXTURE in outcome.err
    assert f"--model {BEST_MODEL}" in outcome.err


def test_demo_takes_other_models(run: Run, tiny: Path, tmp_path: Path) -> None:
    outcome = run("demo", "-n", tiny, "-o", tmp_path)
    assert outcome.status == 0
    assert files_below(tmp_path / "tiny") == sorted(f"demo/{name}.wav" for name in [*SOURCES, "mixture"])
    assert "separated with the model tiny" in outcome.err


def test_demo_into_a_place_that_cannot_be_written(run: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(run("demo", "-n", tiny, "-o", tmp_path / "file"), 1, "file")


# --- existing files


def test_existing_stems_are_kept_unless_told(separate: Run, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav")
    folder = tmp_path / "out/tiny/song"
    assert separate(song).status == 0
    (folder / "drums.wav").write_text("mine")
    outcome = separate(song, "--json")
    assert outcome.status == 1
    assert outcome.statuses == {"song.wav": "failed"}
    assert "--overwrite" in outcome.err
    assert "--skip-existing" in outcome.err
    assert (folder / "drums.wav").read_text() == "mine"
    assert separate(song, "--overwrite").status == 0
    assert soundfile.info(folder / "drums.wav").frames == 4000


def test_skip_existing_does_the_rest(separate: Run, tmp_path: Path) -> None:
    songs = [write(tmp_path / f"{name}.wav") for name in ("done", "half", "new")]
    assert separate(*songs[:2]).status == 0
    (tmp_path / "out/tiny/done/drums.wav").write_text("mine")
    (tmp_path / "out/tiny/half/bass.wav").unlink()
    outcome = separate(*songs, "--skip-existing", "--json")
    assert outcome.status == 0
    assert outcome.statuses == {"done.wav": "skipped", "half.wav": "written", "new.wav": "written"}
    assert (tmp_path / "out/tiny/done/drums.wav").read_text() == "mine"
    assert files_below(tmp_path / "out") == stem_files("done") + stem_files("half") + stem_files("new")


def test_overwrite_and_skip_existing_exclude_each_other(separate: Run, song: Path) -> None:
    assert_refused(separate(song, "--overwrite", "--skip-existing"), 2, "--skip-existing")


# --- odd audio


ODD: dict[str, tuple[Callable[[], Tensor], int]] = {
    "one sample": (lambda: noise(1), TINY_RATE),
    "silence": (lambda: torch.zeros(2, 4000), TINY_RATE),
    "mono": (lambda: noise(4000, 1), TINY_RATE),
    "8 channels": (lambda: noise(4000, 8), TINY_RATE),
    "8 kHz": (lambda: tones(8000, 0.5), 8000),
    "192 kHz": (lambda: tones(192_000, 0.5), 192_000),
}


def test_odd_audio_is_separated(separate: Run, tmp_path: Path) -> None:
    for name, (samples, rate) in ODD.items():
        write(tmp_path / f"odd/{name}.wav", samples(), rate)
    outcome = separate(tmp_path / "odd", "--json", "--bits", "32f")
    assert outcome.status == 0
    assert outcome.statuses == {f"{name}.wav": "written" for name in ODD}
    for name, (samples, rate) in ODD.items():
        stems = read(tmp_path / "out/tiny" / name)
        assert stems.shape[:2] == (4, 2)
        assert abs(stems.shape[2] - samples().shape[1] * TINY_RATE / rate) <= 1
        assert stems.isfinite().all()


def test_a_truncated_mp3_gives_what_is_left(separate: Run, tmp_path: Path) -> None:
    song = write(tmp_path / "song.mp3", tones(TINY_RATE, 6))
    song.write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    outcome = separate(song, "--json")
    assert outcome.status == 0
    assert outcome.json["tracks"][0]["seconds"] == pytest.approx(3, abs=0.3)


def broken_files(folder: Path) -> dict[str, str]:
    """Files that cannot be separated, and what is to be said of each."""
    (folder / "text.mp3").write_text("Lorem ipsum dolor sit amet. " * 100)
    (folder / "empty.wav").touch()
    write(folder / "no samples.wav", np.zeros((2, 0)))
    write(folder / "nan.wav", np.array([[0.0, np.nan, 0.1]] * 2))
    write(folder / "infinite.wav", np.array([[0.0, 0.1, np.inf]] * 2))
    return {
        "missing.wav": "does not exist",
        "text.mp3": "not audio",
        "empty.wav": "is empty",
        "no samples.wav": "no audio",
        "nan.wav": "NaN or infinite at 0.000 s",
        "infinite.wav": "NaN or infinite at 0.000 s",
    }


def test_broken_files_are_named_and_the_others_done(separate: Run, song: Path, tmp_path: Path) -> None:
    broken = broken_files(tmp_path)
    outcome = separate(*(tmp_path / name for name in broken), song, "--json")
    assert outcome.status == 1
    assert outcome.statuses == {**dict.fromkeys(broken, "failed"), "song.wav": "written"}
    lines = outcome.err.splitlines()
    assert len(lines) == len(broken)
    for line, (name, reason) in zip(lines, broken.items(), strict=True):
        assert line.startswith(f"hdemucs: {tmp_path / name} ")
        assert reason in line
    assert files_below(tmp_path / "out") == stem_files("song")


def test_a_folder_without_audio(separate: Run, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/notes.txt").write_text("no audio")
    assert_refused(separate(tmp_path / "texts"), 1, tmp_path / "texts", "no audio files")


# --- what is refused


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--overlap", "2"], ["overlap", "2.0"]),
        (["--overlap", "most"], ["--overlap", "most"]),
        (["--segment", "0"], ["segment", "above 0"]),
        (["--segment", "nan"], ["segment", "nan"]),
        (["--shifts", "-1"], ["shifts"]),
        (["--shifts", "1.5"], ["--shifts"]),
        (["--batch-size", "0"], ["batch_size"]),
        (["-j", "0"], ["jobs"]),
        (["--device", "toaster"], ["toaster", "cpu"]),
        (["--stems", "guitar"], ["guitar", "vocals"]),
        (["--stems", ","], ["vocals"]),
        (["--two-stems", "piano"], ["piano", "vocals"]),
        (["--two-stems", "vocals", "--stems", "drums"], ["two_stems"]),
        (["--filename", "../../{track}/{stem}.{ext}"], ["leads out"]),
        (["--filename", "{artist}/{stem}.{ext}"], ["artist", "{trackext}"]),
        (["--filename", "{track}.{ext}"], ["{stem}"]),
        (["--format", "m4a"], ["m4a", "flac"]),
        (["--format", "mp3", "--bits", "24"], ["mp3", "bits"]),
        (["--format", "flac", "--bits", "32f"], ["flac", "32f"]),
        (["--bitrate", "128"], ["bitrate", "mp3"]),
        (["--mp3", "--bitrate", "1"], ["bitrate", "64"]),
        (["--mp3", "--flac"], ["--mp3", "--flac"]),
        (["--int24", "--float32"], ["--int24", "--float32"]),
        (["--clip", "maybe"], ["maybe"]),
        (["--frobnicate"], ["--frobnicate"]),
        ([""], ["empty"]),
    ],
)
def test_impossible_options(separate: Run, tmp_path: Path, flags: list[str], words: list[str]) -> None:
    songs = [write(tmp_path / f"{name}.wav") for name in "ab"]
    assert_refused(separate(*songs, *flags), 2, *words)
    assert files_below(tmp_path) == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        (["--no-split"], "--segment"),
        (["--repo", "models"], "--model"),
        (["-s", "955717e8"], "--model"),
        (["--sig", "955717e8"], "--model"),
        (["--other-method", "minus"], "no_STEM"),
        (["--mp3-preset", "2"], "--bitrate"),
        (["--list-models"], "hdemucs models"),
        (["-v"], "errors"),
        (["--verbose"], "errors"),
    ],
)
def test_habits_of_demucs_get_a_hint(run: Run, song: Path, flags: list[str], remedy: str) -> None:
    assert_refused(run("separate", song, *flags), 2, flags[0], remedy)
    assert_refused(run("separate", *flags), 2, flags[0], remedy)


@pytest.mark.parametrize(
    "argv", [["song.mp3"], ["-n", "mdx", "song.mp3"], ["--two-stems=vocals", "song.mp3"]]
)
def test_a_forgotten_command_gets_a_hint(run: Run, argv: list[str]) -> None:
    assert_refused(run(*argv), 2, f"hdemucs separate {' '.join(argv)}")


def test_no_command_at_all(run: Run) -> None:
    assert_refused(run(), 2, "COMMAND")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("hdemucs_mni", ["hdemucs_mmi"]),
        ("htdemucs", ["htdemucs", "hdemucs_mmi"]),
        ("nowhere/model.th", ["nowhere/model.th"]),
        ("hf://nonsense", ["hf://user/repo"]),
    ],
)
def test_unknown_models(run: Run, song: Path, tmp_path: Path, model: str, words: list[str]) -> None:
    assert_refused(run("separate", song, "-n", model, "-o", tmp_path / "out"), 1, *words)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_none(run: Run, song: Path, tmp_path: Path) -> None:
    (tmp_path / "fake.safetensors").write_text("no weights")
    assert_refused(run("separate", song, "-n", tmp_path / "fake.safetensors"), 1, "fake.safetensors")


def test_unknown_models_are_not_downloaded(run: Run) -> None:
    assert_refused(run("models", "download", "hdemucs_mni"), 1, "hdemucs_mmi")


def test_two_inputs_with_one_name(separate: Run, tmp_path: Path) -> None:
    one, two = write(tmp_path / "a/song.wav"), write(tmp_path / "b/song.flac")
    assert_refused(separate(one, two), 2, one, two, "{trackext}")
    template = "{track}.{trackext}/{stem}.{ext}"
    assert separate(one, two, "--filename", template).status == 0
    assert files_below(tmp_path / "out") == stem_files("song.flac") + stem_files("song.wav")


@pytest.mark.parametrize("template", ["{track}/{stem}.{ext}", "{track}" + "x" * 250 + "{stem}.{ext}"])
def test_unwritable_outputs(run: Run, tiny: Path, tmp_path: Path, template: str) -> None:
    song = write(tmp_path / "song.wav")
    out = tmp_path / "out"
    if "xx" not in template:
        out.write_text("a file")
    outcome = run("separate", "-n", tiny, song, "-o", out, "--filename", template)
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert str(out) in outcome.err
    assert set(files_below(tmp_path)) <= {"out", "song.wav"}


def test_out_of_memory_fails_the_track_only(
    separate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = HDemucs.forward

    def limited(model: HDemucs, mix: Tensor) -> Tensor:
        if mix.shape[-1] == TINY_RATE:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nSee documentation")
        return forward(model, mix)

    monkeypatch.setattr(HDemucs, "forward", limited)
    songs = [write(tmp_path / f"{n}.wav", noise(n)) for n in (9000, 4000)]
    outcome = separate(*songs, "--json")
    assert outcome.status == 1
    assert outcome.statuses == {"9000.wav": "failed", "4000.wav": "written"}
    assert "shorter segment" in outcome.err
    assert files_below(tmp_path / "out") == stem_files("4000")


# --- processes


COMMAND = [sys.executable, "-m", "hdemucs"]


def start(*argv: str | Path, **options: Any) -> "subprocess.Popen[str]":
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([*COMMAND, *map(str, argv)], **options)


@pytest.mark.parametrize("argv", [["--help"], ["separate", "--help"], ["--version"]])
def test_help_is_quick_and_without_torch(argv: list[str]) -> None:
    code = f"""
import atexit, sys
atexit.register(lambda: print(sorted({{"torch", "numpy", "rich", "soundfile"}} & set(sys.modules))))
from hdemucs.cli import main
main({argv})
"""
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - before)
        assert run.stdout.splitlines()[-1] == "[]"
        assert "hdemucs" in run.stdout
        assert run.stderr == ""
    assert min(seconds) < 0.5


def test_help_names_the_default_model(run: Run) -> None:
    assert f"(default: {DEFAULT_MODEL})" in " ".join(run("separate", "--help").out.split())


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 1), (signal.SIGTERM, 2), (signal.SIGHUP, 1)])
def test_a_signal_in_the_middle_leaves_nothing(
    tiny: Path, tmp_path: Path, number: signal.Signals, jobs: int
) -> None:
    song = write(tmp_path / "song.wav", noise(120 * TINY_RATE))
    out = tmp_path / "out"
    process = start("separate", "-n", tiny, song, "-o", out, "--shifts", "20", "-j", str(jobs))
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in out.rglob(".*.part")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    printed, complaint = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert files_below(out) == []
    assert printed == ""
    assert "Traceback" not in complaint
    assert complaint.count("\n") <= 1


def test_a_full_disk(tiny: Path, tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    songs = [
        write(tmp_path / f"{name}.wav", noise(frames))
        for name, frames in (("long", 20 * TINY_RATE), ("short", 4000))
    ]
    out = tmp_path / "out"
    process = start("separate", "-n", tiny, *songs, "-o", out, "--json", preexec_fn=limit)
    printed, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert [track["status"] for track in json.loads(printed)["tracks"]] == ["failed", "written"]
    assert complaint.splitlines()[0].startswith(f"hdemucs: cannot write {out / 'tiny/long'}")
    assert "Traceback" not in complaint
    assert files_below(out) == stem_files("short")


def test_a_reader_that_leaves_early(tiny: Path, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav")
    process = start("separate", "-n", tiny, song, "-o", tmp_path / "out", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    complaint = process.stderr.read()
    process.wait(timeout=30)
    assert "rror" not in complaint
    assert files_below(tmp_path / "out") == stem_files("song")


def test_stdout_that_is_full() -> None:
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
