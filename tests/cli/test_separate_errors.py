"""`hdemucs separate`: invalid options and unusable files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hdemucs.model import HDemucs
from tests.audio.signals import noise
from tests.cli.command import Run, assert_fails, files_below, stem_files, write
from tests.conftest import TINY_RATE


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--overlap", "2"], ["overlap", "2.0"]),
        (["--overlap", "most"], ["--overlap", "most"]),
        (["--segment", "0"], ["segment", "positive"]),
        (["--segment", "nan"], ["segment", "nan"]),
        (["--shifts", "-1"], ["shifts"]),
        (["--shifts", "1.5"], ["--shifts"]),
        (["--batch-size", "0"], ["batch_size"]),
        (["-j", "-1"], ["jobs"]),
        (["--device", "toaster"], ["toaster", "cpu"]),
        (["--stems", "guitar"], ["guitar", "vocals"]),
        (["--stems", ","], ["vocals"]),
        (["--two-stems", "piano"], ["piano", "vocals"]),
        (["--two-stems", "vocals", "--stems", "drums"], ["two_stems"]),
        (["--filename", "../../{track}/{stem}.{ext}"], ["leads out"]),
        (["--filename", "{artist}/{stem}.{ext}"], ["artist", "{trackext}"]),
        (["--filename", "{track}.{ext}"], ["{stem}"]),
        (["--filename", "{stem:>99999999999}"], ["99999999999"]),
        (["--filename", "{track}/{stem}.mp3", "--format", "flac"], ["flac", ".mp3"]),
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
        (["https://example.org/song.mp3"], ["https://example.org/song.mp3 is a URL", "download"]),
    ],
)
def test_invalid_options(separate: Run, tmp_path: Path, flags: list[str], words: list[str]) -> None:
    songs = [write(tmp_path / f"{name}.wav") for name in "ab"]
    assert_fails(separate(*songs, *flags), 2, *words)
    assert files_below(tmp_path) == ["a.wav", "b.wav"]


def test_overwrite_and_skip_existing_exclude_each_other(separate: Run, song: Path) -> None:
    assert_fails(separate(song, "--overwrite", "--skip-existing"), 2, "--skip-existing")


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
        (["--output_dir", "stems"], "--out"),
        (["--output_format", "FLAC"], "--format"),
        (["--single_stem=Vocals"], "--stems"),
        (["--model_filename", "x.ckpt"], "--model"),
    ],
)
def test_flags_of_other_programs_get_a_hint(run: Run, song: Path, flags: list[str], remedy: str) -> None:
    assert_fails(run("separate", song, *flags), 2, flags[0].partition("=")[0], remedy)
    assert_fails(run("separate", *flags), 2, flags[0].partition("=")[0], remedy)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("hdemucs_mni", ["hdemucs_mmi"]),
        ("mdx_q", ["mdx_q", "mdx"]),
        ("nowhere/model.th", ["nowhere/model.th"]),
        ("hf://nonsense", ["hf://user/repo"]),
    ],
)
def test_unknown_models(run: Run, song: Path, tmp_path: Path, model: str, words: list[str]) -> None:
    assert_fails(run("separate", song, "-n", model, "-o", tmp_path / "out"), 1, *words)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_a_model(run: Run, song: Path, tmp_path: Path) -> None:
    (tmp_path / "fake.safetensors").write_text("no weights")
    assert_fails(run("separate", song, "-n", tmp_path / "fake.safetensors"), 1, "fake.safetensors")


def test_two_tracks_of_one_name(separate: Run, tmp_path: Path) -> None:
    one, two = write(tmp_path / "a/song.wav"), write(tmp_path / "b/song.flac")
    result = separate(one, two, "--json")
    assert result.status == 1
    assert result.statuses == {"song.wav": "failed", "song.flac": "failed"}
    for line in result.err.splitlines():
        assert f"{one}" in line
        assert f"{two}" in line
        assert "{trackext}" in line
    assert not (tmp_path / "out").exists()
    template = "{track}.{trackext}/{stem}.{ext}"
    assert separate(one, two, "--filename", template).status == 0
    assert files_below(tmp_path / "out") == stem_files("song.flac") + stem_files("song.wav")


@pytest.mark.parametrize("template", ["{track}/{stem}.{ext}", "{track}" + "x" * 250 + "{stem}.{ext}"])
def test_unwritable_output(run: Run, tiny: Path, tmp_path: Path, template: str) -> None:
    song = write(tmp_path / "song.wav")
    out = tmp_path / "out"
    if "xx" not in template:
        out.write_text("a file")
    result = run("separate", "-n", tiny, song, "-o", out, "--filename", template)
    assert result.status == 1
    assert result.err.count("\n") == 1
    assert str(out) in result.err
    assert set(files_below(tmp_path)) <= {"out", "song.wav"}


def broken_files(folder: Path) -> dict[str, str]:
    """Write files that cannot be separated; what is wrong with each, by name."""
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


def test_broken_files_are_reported_and_the_others_separated(
    separate: Run, song: Path, tmp_path: Path
) -> None:
    broken = broken_files(tmp_path)
    result = separate(*(tmp_path / name for name in broken), song, "--json")
    assert result.status == 1
    assert result.statuses == {**dict.fromkeys(broken, "failed"), "song.wav": "written"}
    lines = result.err.splitlines()
    assert len(lines) == len(broken)
    for line, (name, reason) in zip(lines, broken.items(), strict=True):
        assert line.startswith(f"hdemucs: {tmp_path / name} ")
        assert reason in line
    assert files_below(tmp_path / "out") == stem_files("song")


def test_a_folder_without_audio_is_an_error(separate: Run, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/notes.txt").write_text("no audio")
    assert_fails(separate(tmp_path / "texts"), 1, tmp_path / "texts", "no audio files")


def test_running_out_of_memory_fails_only_the_track(
    separate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = HDemucs.forward

    def limited(model: HDemucs, mix: Tensor) -> Tensor:
        if mix.shape[-1] == TINY_RATE:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nSee documentation")
        return forward(model, mix)

    monkeypatch.setattr(HDemucs, "forward", limited)
    songs = [write(tmp_path / f"{n}.wav", noise(n)) for n in (9000, 4000)]
    result = separate(*songs, "--json")
    assert result.status == 1
    assert result.statuses == {"9000.wav": "failed", "4000.wav": "written"}
    assert "shorter segment" in result.err
    assert files_below(tmp_path / "out") == stem_files("4000")
