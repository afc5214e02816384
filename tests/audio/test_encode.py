"""Writing stems: what all formats have in common; each format is tested in `test_codecs.py`."""

import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdemucs import audio
from hdemucs.audio import StemWriter
from hdemucs.audio.codecs import sndfile, wav
from hdemucs.errors import OptionError, OutputError
from tests.audio.signals import gather, noise, tones

RATE = 44100
NAMES = ("drums", "bass")


def paths_in(folder: Path, suffix: str = "wav") -> dict[str, Path]:
    return {name: folder / f"{name}.{suffix}" for name in NAMES}


def write(paths: dict[str, Path], stems: Tensor, rate: int = RATE, **options) -> StemWriter:
    with StemWriter(paths, rate, stems.shape[1], **options) as writer:
        for block in stems.split(10_000, dim=-1):
            writer.write(block)
    return writer


def read(paths: dict[str, Path]) -> Tensor:
    return torch.stack([gather(audio.open(path)) for path in paths.values()])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(kind: type[Exception], *args, **options) -> str:
    with pytest.raises(kind) as caught:
        write(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@settings(deadline=None, max_examples=20)
@given(
    length=st.integers(1, 3000),
    channels=st.integers(1, 8),
    size=st.integers(1, 5000),
    format=st.sampled_from(["wav", "flac"]),
)
def test_any_length_channels_and_block_size(
    tmp_path_factory: pytest.TempPathFactory, length: int, channels: int, size: int, format: str
):
    paths = paths_in(tmp_path_factory.mktemp("stems"))
    stems = torch.stack([noise(length, channels), noise(length, channels, seed=1)])
    with StemWriter(paths, RATE, channels, format=format, bits="24") as writer:
        for block in stems.split(size, dim=-1):
            writer.write(block)
    assert (read(paths) - stems).abs().max() <= 2**-24


def test_16_bit_samples_survive_bit_for_bit(tmp_path: Path):
    steps = np.arange(-32768, 32768, dtype=np.int16)
    block = gather(audio.from_samples(steps, RATE))[None]
    for format in ["wav", "flac"]:
        write({"all": tmp_path / "all"}, block, format=format)
        assert (soundfile.read(tmp_path / "all", dtype="int16")[0] == steps).all()


# --- full scale


@pytest.mark.parametrize(
    ("format", "bits", "error"), [("wav", "16", 3.2e-5), ("flac", "24", 1e-6), ("mp3", None, 0.05)]
)
def test_one_gain_keeps_the_sum_of_the_stems(tmp_path: Path, format: str, bits: str | None, error: float):
    ramp = torch.linspace(0, 1, RATE)
    stems = ramp * torch.stack([tones(RATE, 1.0, lowest=200, level=2), tones(RATE, 1.0, lowest=300)])
    paths = paths_in(tmp_path)
    writer = write(paths, stems, format=format, bits=bits)
    assert writer.gain == pytest.approx(1 / stems.abs().max().item(), rel=1e-4)
    got = read(paths)
    if format != "mp3":
        assert got.abs().max() <= 1
    assert (got.sum(dim=0) - writer.gain * stems.sum(dim=0)).abs().max() < error
    assert (got - writer.gain * stems).abs().max() < error


def test_full_scale_itself_is_not_rescaled(tmp_path: Path):
    assert write(paths_in(tmp_path), torch.ones(2, 2, 10)).gain == 1.0


@pytest.mark.parametrize("bits", ["16", "24"])
@pytest.mark.parametrize("clip", ["clamp", "none"])
def test_integers_clip_at_full_scale(tmp_path: Path, bits: str, clip: str):
    stems = torch.tensor([[[1.5, -1.5, 0.25]], [[0.5, -0.5, 0.0]]])
    paths = paths_in(tmp_path)
    assert write(paths, stems, bits=bits, clip=clip).gain == 1.0
    assert (read(paths) - stems.clamp(-1, 1)).abs().max() <= 2.0 ** (1 - int(bits))


@pytest.mark.parametrize(("clip", "highest"), [("rescale", 1.5), ("none", 1.5), ("clamp", 1.0)])
def test_floats_clip_only_on_demand(tmp_path: Path, clip: str, highest: float):
    paths = paths_in(tmp_path)
    writer = write(paths, torch.full((2, 1, 5), 1.5), bits="32f", clip=clip)
    assert writer.gain == 1.0
    assert (read(paths) == highest).all()


def test_none_leaves_a_lossy_format_beyond_full_scale(tmp_path: Path):
    stems = (tones(RATE, 1.0, level=1.5) * torch.linspace(0, 1, RATE)).expand(2, 2, RATE)
    for clip, highest in [("none", 1.45), ("rescale", 0.95)]:
        write(paths_in(tmp_path), stems, format="ogg", clip=clip)
        assert highest < read(paths_in(tmp_path)).abs().max() < highest + 0.1


def test_half_precision_blocks_are_accepted(tmp_path: Path):
    write(paths_in(tmp_path), torch.full((2, 2, 10), 0.5, dtype=torch.bfloat16, requires_grad=True))
    assert (read(paths_in(tmp_path)) == 0.5).all()


# --- length


def test_a_wav_above_the_limit_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wav, "WAV_BYTES", 8 * 999)
    stems = torch.stack([noise(1000), noise(1000, seed=1)])
    paths = paths_in(tmp_path)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"bits": "32f"}, "RF64"),
        ({"bits": "32f", "length": 1000}, "RF64"),
        ({"bits": "16"}, "WAV"),
        ({"bits": "32f", "length": 2000, "clip": "clamp"}, "RF64"),
    ]
    for options, container in cases:
        write(paths, stems, **options)
        assert soundfile.info(paths["bass"]).format == container
        assert (read(paths) - stems).abs().max() <= 2**-16
    assert "4 GiB" in refused(OutputError, paths, stems, bits="32f", length=10)


def test_memory_does_not_grow_with_the_track(tmp_path: Path):
    block = torch.zeros(2, 2, RATE)
    tracemalloc.start()
    try:
        with StemWriter(paths_in(tmp_path), RATE, 2, format="flac") as writer:
            for _ in range(40):  # 28 MB as float32
                writer.write(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert soundfile.info(tmp_path / "bass.wav").frames == 40 * RATE
    assert peak < 6e6


# --- whole or not at all


@pytest.mark.parametrize("where", ["write", "close"])
@pytest.mark.parametrize("kind", [OSError(errno.ENOSPC, "No space"), KeyboardInterrupt()])
def test_an_exception_while_encoding_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, kind: BaseException
):
    close = sndfile.SndfileEncoder.close

    def fails(encoder: sndfile.SndfileEncoder, *_):
        close(encoder)
        raise kind

    monkeypatch.setattr(sndfile.SndfileEncoder, where, fails)
    expected = OutputError if isinstance(kind, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write(paths_in(tmp_path), torch.zeros(2, 2, 100))
    assert names(tmp_path) == []


def test_a_name_taken_at_the_last_moment_leaves_nothing(tmp_path: Path):
    paths = paths_in(tmp_path)

    def surprised() -> None:
        with StemWriter(paths, RATE, 2) as writer:
            writer.write(torch.zeros(2, 2, 100))
            paths["bass"].mkdir()

    with pytest.raises(OutputError, match=r"bass\.wav.*folder"):
        surprised()
    assert names(tmp_path) == ["bass.wav"]  # the folder; drums.wav had its name for a moment


@pytest.mark.parametrize("links", [True, False])
def test_old_files_stay_when_one_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
):
    def no_links(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    paths = {name: tmp_path / name for name in ("bass", "drums", "other")}
    write({name: paths[name] for name in ("bass", "drums")}, torch.full((2, 2, 10), 0.25))
    paths["bass"].rename(tmp_path / "real")
    paths["bass"].symlink_to("real")

    def surprised() -> None:
        with StemWriter(paths, RATE, 2) as writer:
            writer.write(torch.zeros(3, 2, 100))
            paths["other"].mkdir()

    with pytest.raises(OutputError, match="folder"):
        surprised()
    assert names(tmp_path) == ["bass", "drums", "other", "real"]
    assert paths["bass"].is_symlink()
    assert all((gather(audio.open(paths[name])) == 0.25).all() for name in ("bass", "drums"))


def test_old_files_stay_until_new_ones_are_whole(tmp_path: Path):
    paths = paths_in(tmp_path)
    write(paths, torch.full((2, 2, 10), 0.25))

    def interrupted() -> None:
        with StemWriter(paths, RATE, 2) as writer:
            writer.write(torch.full((2, 2, 10), 0.5))
            assert (read(paths) == 0.25).all()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (read(paths) == 0.25).all()
    write(paths, torch.full((2, 2, 10), 0.5))
    assert (read(paths) == 0.5).all()


@pytest.mark.parametrize("options", [{}, {"bits": "32f", "length": 9}])
def test_two_writers_of_the_same_files_do_not_interfere(tmp_path: Path, options: dict[str, Any]):
    paths = paths_in(tmp_path)
    with StemWriter(paths, RATE, 2, **options) as first:
        with StemWriter(paths, RATE, 2, **options) as second:
            for _ in range(3):
                first.write(torch.full((2, 2, 5), 0.25))
                second.write(torch.full((2, 2, 7), 0.5))
        assert read(paths).shape == (2, 2, 21)
        assert (read(paths) == 0.5).all()
    assert read(paths).shape == (2, 2, 15)
    assert (read(paths) == 0.25).all()
    assert len(names(tmp_path)) == 2


def test_empty_stems_are_an_error(tmp_path: Path):
    assert "no audio" in refused(OutputError, paths_in(tmp_path), torch.zeros(2, 2, 0))
    assert names(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_stems_must_be_finite(tmp_path: Path, value: float):
    stems = torch.zeros(2, 2, 30_000)
    stems[1, 0, 25_000] = value
    message = refused(OutputError, paths_in(tmp_path), stems)
    assert "bass.wav: bass is NaN or infinite after 0.5 s" in message
    assert names(tmp_path) == []


def test_impossible_targets(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    stems = torch.zeros(1, 2, 10)
    for path, reason in [
        (tmp_path / "file" / "bass.wav", "is a file, not a folder"),
        (tmp_path / "file" / "deep" / "bass.wav", "is a file, not a folder"),
        (tmp_path / "folder", "it is a folder"),
        (tmp_path / ("x" * 252 + ".wav"), "too long"),
    ]:
        message = refused(OutputError, {"bass": path}, stems)
        assert message.startswith(f"cannot write {path}: ")
        assert reason in message
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "permission to write in its folder; choose another folder"),
        (errno.EROFS, "read-only; choose another folder"),
        (errno.ENOSPC, "disk is full; free some space"),
        (errno.EIO, f"{os.strerror(errno.EIO)}; choose another folder"),
    ],
)
def test_errors_of_the_system_come_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)  # the superuser may write anywhere
    message = refused(OutputError, paths_in(tmp_path), torch.zeros(2, 2, 10))
    assert message.startswith(f"cannot write {tmp_path / 'drums.wav'}: ")
    assert reason in message


def test_the_longest_name_in_new_folders(tmp_path: Path):
    path = tmp_path / "new" / "newer" / ("ü" * 125 + ".wav")
    write({"bass": path}, torch.zeros(1, 2, 10))
    assert names(path.parent) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("rate", "channels", "format", "remedy"),
    [
        (96000, 2, "mp3", "mp3 cannot hold a sample rate of 96000 Hz; choose wav or flac or ogg"),
        (44101, 2, "mp3", "choose wav or flac or ogg"),
        (250_000, 2, "ogg", "choose wav or flac"),
        (700_000, 2, "flac", "choose wav"),
        (44100, 6, "mp3", "mp3 cannot hold 6 channels; choose wav or flac"),
        (44100, 6, "ogg", "ogg cannot hold 6 channels; choose wav or flac"),
        (44100, 9, "flac", "choose wav"),
        (44100, 2000, "wav", "resample or remix it first"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path: Path, rate: int, channels: int, format: str, remedy: str):
    with pytest.raises(OutputError, match=remedy):
        StemWriter(paths_in(tmp_path), rate, channels, format=format)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "m4a"}, "format 'm4a' cannot be written; choose one of wav, flac, mp3, ogg"),
        ({"bits": "20"}, "choose one of 16, 24, 32f"),
        ({"format": "flac", "bits": "32f"}, "choose one of 16, 24"),
        ({"format": "mp3", "bits": "16"}, "leave bits out"),
        ({"format": "mp3", "bitrate": 100}, "no bitrate of 100 kbit/s; choose one of 64, 80"),
        ({"bitrate": 320}, "wav has no choice of bitrate; leave bitrate out, or choose mp3"),
        ({"clip": "soft"}, "clip='soft' does not exist; choose rescale"),
    ],
)
def test_contradictory_options(tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(OptionError, match=message):
        StemWriter(paths_in(tmp_path), RATE, 2, **options)


def test_every_stem_needs_its_own_file(tmp_path: Path):
    with pytest.raises(OptionError, match="same file"):
        StemWriter({"drums": tmp_path / "a", "bass": tmp_path / "a"}, RATE, 2)


def test_a_block_of_the_wrong_shape(tmp_path: Path):
    def write_mono() -> None:
        with StemWriter(paths_in(tmp_path), RATE, 2) as writer:
            writer.write(torch.zeros(2, 1, 10))

    with pytest.raises(ValueError, match=r"\[2, 2, n\], not \[2, 1, 10\]"):
        write_mono()
    assert names(tmp_path) == []
