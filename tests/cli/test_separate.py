"""`hdemucs separate`: the files it writes."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

import hdemucs
from hdemucs import audio
from hdemucs.checkpoint import save
from hdemucs.model import HDemucs
from hdemucs.pretrained import BEST_MODEL, DEFAULT_MODEL
from tests.audio.signals import gather, noise, tones
from tests.cli.command import Run, assert_fails, files_below, read, stem_files, write
from tests.conftest import TINY_RATE, tiny_network


def test_stems_have_the_paths_that_demucs_gives_them(separate: Run, song: Path, tmp_path: Path) -> None:
    result = separate(song)
    assert result.status == 0
    assert files_below(tmp_path / "out") == stem_files("song")
    for path in (tmp_path / "out").rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames) == (TINY_RATE, 2, round(2.6 * TINY_RATE))
        assert info.subtype == "PCM_16"
        assert str(path) in result.out


def test_files_equal_what_python_returns(separate: Run, song: Path, tiny: Path, tmp_path: Path) -> None:
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


def test_the_default_folder_is_below_the_current_one(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "music/song.wav")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/tiny.safetensors").symlink_to(tiny)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = run("separate", "--model", "../models/tiny.safetensors", "../music/song.wav")
    assert result.status == 0
    assert files_below(tmp_path / "here/separated") == stem_files("song")
    assert "separated/tiny/song/vocals.wav" in result.out


def test_the_default_model_ships_and_a_better_one_is_named_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "song.wav", noise(44100), 44100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["separate", "-o", tmp_path / "out", path, "--overwrite"]
    result = run(*command)
    assert result.status == 0
    assert files_below(tmp_path / "out") == stem_files("song", model=DEFAULT_MODEL)
    assert result.err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert f"--model {BEST_MODEL}" not in run(*command, "--quiet").err
    assert f"--model {BEST_MODEL}" not in run(*command, "--model", DEFAULT_MODEL).err
    assert f"--model {BEST_MODEL}" in " ".join(run(*command).err.split())
    assert f"--model {BEST_MODEL}" not in " ".join(run(*command).err.split())


@pytest.mark.parametrize(
    ("flags", "suffix", "format", "subtype"),
    [
        (["--format", "wav"], "wav", "WAV", "PCM_16"),
        (["--bits", "24"], "wav", "WAV", "PCM_24"),
        (["--bits", "32f"], "wav", "WAV", "FLOAT"),
        (["--format", "flac", "--bits", "24"], "flac", "FLAC", "PCM_24"),
        (["--format", "mp3"], "mp3", "MP3", "MPEG_LAYER_III"),
        (["--format", "ogg"], "ogg", "OGG", "VORBIS"),
        (["--format", "FLAC"], "flac", "FLAC", "PCM_16"),
        (["--filename", "{track}/{stem}.mp3"], "mp3", "MP3", "MPEG_LAYER_III"),
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
def test_formats_and_flags_of_demucs(
    separate: Run, tmp_path: Path, flags: list[str], suffix: str, format: str, subtype: str
) -> None:
    assert separate(*flags, write(tmp_path / "song.wav")).status == 0
    assert files_below(tmp_path / "out") == stem_files("song", suffix)
    for path in (tmp_path / "out").rglob(f"*.{suffix}"):
        info = soundfile.info(path)
        assert (info.format, info.subtype) == (format, subtype)


def test_the_bit_rate_sets_the_size_of_files(separate: Run, song: Path, tmp_path: Path) -> None:
    sizes = []
    for bitrate in (32, 64):
        assert separate(song, "--format", "mp3", "--bitrate", str(bitrate), "--overwrite").status == 0
        sizes.append((tmp_path / "out/tiny/song/vocals.mp3").stat().st_size)
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize(("mode", "peak"), [("rescale", 1), ("clamp", 1), ("none", 3)])
def test_clip_modes(separate: Run, tmp_path: Path, mode: str, peak: float) -> None:
    loud = write(tmp_path / "loud.wav", 100 * noise(8000))
    bits = ["--bits", "32f"] if mode == "none" else []
    result = separate(loud, "--clip", mode, *bits)
    assert result.status == 0
    stems = read(tmp_path / "out/tiny/loud")
    quiet = hdemucs.separate(loud, model=tiny_network())
    wanted = torch.stack(list(quiet.values()))
    assert wanted.abs().max() > 3
    if mode == "rescale":
        wanted = wanted * (1 - 2**-15) / wanted.abs().max()
        assert re.search(r"turned down \d+\.\d dB", result.out)
    elif mode == "clamp":
        wanted = wanted.clamp(-1, 1)
    torch.testing.assert_close(stems, wanted, rtol=1e-5, atol=2**-15)
    assert (stems.abs().max() > 1) == (peak > 1)


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--stems", "vocals,drums"], ["drums", "vocals"]),
        (["--stems", " bass , "], ["bass"]),
        (["--stems", "vocals", "--stems", "bass"], ["bass", "vocals"]),
        (["--two-stems", "vocals"], ["no_vocals", "vocals"]),
        (["--two-stems=drums"], ["drums", "no_drums"]),
    ],
)
def test_stems_can_be_chosen(
    separate: Run, song: Path, tiny: Path, tmp_path: Path, flags: list[str], names: list[str]
) -> None:
    assert separate(song, *flags, "--bits", "32f").status == 0
    assert files_below(tmp_path / "out") == [f"tiny/song/{name}.wav" for name in names]
    everything = hdemucs.separate(song, model=tiny)
    everything_but = {f"no_{name}": sum(everything.values()) - stem for name, stem in everything.items()}
    for name in names:
        got = gather(audio.open(tmp_path / f"out/tiny/song/{name}.wav"))
        torch.testing.assert_close(got, {**everything_but, **everything}[name], rtol=0, atol=1e-5)


def test_only_members_of_a_bag_that_are_needed_run(
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


def test_folders_are_searched_without_earlier_stems(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.wav", "cd 2/two.FLAC", "cd 2/.hidden.wav"):
        write(tmp_path / name)
    (tmp_path / "cover.jpg").write_bytes(b"no audio")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        result = run("separate", "-n", tiny, ".", "--overwrite", "--json")
        assert result.status == 0
        assert result.statuses == {"one.wav": "written", "two.FLAC": "written"}
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
def test_difficult_file_names(
    run: Run, tiny: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(f"{name}.wav"))
    result = run("separate", "-n", tiny, "--stems=bass", "--filename={stem} {trackext}", "--", f"{name}.wav")
    assert result.status == 0
    separated = run("separate", "-n", tiny, "--stems=bass", "--json", "--", f"{name}.wav")
    # Python 3.14 finds no suffix in `...wav`.
    track = Path(f"{name}.wav").stem
    if track == "..":
        assert_fails(separated, 2, "leads out")
        return
    assert separated.status == 0
    assert separated.json["tracks"][0]["track"] == f"{name}.wav"
    assert Path(separated.json["tracks"][0]["stems"]["bass"]).is_file()
    assert Path("separated/tiny", track, "bass.wav").is_file()
    if "\n" not in name:
        # Whole, however long, so that it can be searched for and copied.
        assert f"{name}.wav" in result.out


def test_links_are_followed(separate: Run, song: Path, tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to(song)
    assert separate(tmp_path / "link.wav").status == 0
    assert files_below(tmp_path / "out") == stem_files("link")


def test_the_same_file_twice_is_separated_once(separate: Run, tmp_path: Path) -> None:
    song = write(tmp_path / "music/song.wav")
    result = separate(song, tmp_path / "music", song, "--json")
    assert result.status == 0
    assert [track["track"] for track in result.json["tracks"]] == [str(song)]


def test_existing_stems_are_kept_by_default(separate: Run, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav")
    folder = tmp_path / "out/tiny/song"
    assert separate(song).status == 0
    (folder / "drums.wav").write_text("mine")
    result = separate(song, "--json")
    assert result.status == 1
    assert result.statuses == {"song.wav": "failed"}
    assert "--overwrite" in result.err
    assert "--skip-existing" in result.err
    assert (folder / "drums.wav").read_text() == "mine"
    assert separate(song, "--overwrite").status == 0
    assert soundfile.info(folder / "drums.wav").frames == 4000


def test_habits_of_demucs_do_no_harm(separate: Run, song: Path, tmp_path: Path) -> None:
    assert separate(song, "-v", "-j", "0").status == 0
    assert files_below(tmp_path / "out") == stem_files("song")


def test_audio_from_a_pipe(
    separate: Run, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with song.open() as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        result = separate("--json", "-", song)
    assert result.status == 0
    assert [track["track"] for track in result.json["tracks"]] == ["-", str(song)]
    assert files_below(tmp_path / "out") == stem_files("song") + stem_files("stdin")
    assert torch.equal(read(tmp_path / "out/tiny/song"), read(tmp_path / "out/tiny/stdin"))
    with Path(__file__).open() as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        assert separate("-", "--overwrite").err.startswith("hdemucs: stdin ")


def test_one_stem_into_a_pipe(
    run: Run, song: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["separate", "-n", tiny, song, "-o", "-"]
    assert_fails(run(*command), 2, "one stem")
    assert_fails(run(*command, "--stems=bass", "--json"), 2, "--json")
    with (tmp_path / "bass.flac").open("w") as pipe, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", pipe)
        assert run(*command, "--stems=bass", "--format=flac").status == 0
    assert soundfile.info(tmp_path / "bass.flac").format == "FLAC"
    assert run("separate", "-n", tiny, song, "-o", tmp_path, "--stems=bass", "--flac").status == 0
    assert (tmp_path / "bass.flac").read_bytes() == (tmp_path / "tiny/song/bass.flac").read_bytes()


def test_skip_existing_writes_what_is_missing(separate: Run, tmp_path: Path) -> None:
    songs = [write(tmp_path / f"{name}.wav") for name in ("done", "half", "new")]
    assert separate(*songs[:2]).status == 0
    (tmp_path / "out/tiny/done/drums.wav").write_text("mine")
    (tmp_path / "out/tiny/half/drums.wav").write_text("mine too")
    (tmp_path / "out/tiny/half/bass.wav").unlink()
    result = separate(*songs, "--skip-existing", "--json")
    assert result.status == 0
    assert result.statuses == {"done.wav": "skipped", "half.wav": "written", "new.wav": "written"}
    assert (tmp_path / "out/tiny/done/drums.wav").read_text() == "mine"
    assert (tmp_path / "out/tiny/half/drums.wav").read_text() == "mine too"
    assert files_below(tmp_path / "out") == stem_files("done") + stem_files("half") + stem_files("new")


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
    result = separate(tmp_path / "odd", "--json", "--bits", "32f")
    assert result.status == 0
    assert result.statuses == {f"{name}.wav": "written" for name in ODD}
    for name, (samples, rate) in ODD.items():
        stems = read(tmp_path / "out/tiny" / name)
        assert stems.shape[:2] == (4, 2)
        assert abs(stems.shape[2] - samples().shape[1] * TINY_RATE / rate) <= 1
        assert stems.isfinite().all()


def test_a_truncated_mp3_is_separated_up_to_its_end(separate: Run, tmp_path: Path) -> None:
    song = write(tmp_path / "song.mp3", tones(TINY_RATE, 6))
    song.write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    result = separate(song, "--json")
    assert result.status == 0
    track = result.json["tracks"][0]
    assert track["seconds"] == pytest.approx(3, abs=0.3)
    (warning,) = track["warnings"]
    early, _, whole = warning.partition(" s of ")
    assert early == f"{song} ends early, at {track['seconds']:.1f}"
    # FFmpeg 7.0 counts the encoder's delay and padding, which newer versions leave out.
    assert float(whole.split()[0]) == pytest.approx(6, abs=0.2)
    assert f"hdemucs: warning: {warning}\n" in result.err
    result = separate(song, "--overwrite", "--strict")
    assert (result.status, result.err) == (1, f"hdemucs: {warning}\n")
