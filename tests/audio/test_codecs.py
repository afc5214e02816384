"""Every row of the table of formats: what it reads and writes, and what a failure leaves behind."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.audio import codecs
from hdemucs.audio.codecs import CODECS, WRITABLE, Codec, Encoding
from hdemucs.audio.codecs.base import Encoder
from hdemucs.errors import AudioError, OptionError, OutputError
from tests.audio.signals import encode_format, gather, noise, pitches, snr, tones

RATE = 48000
TAGS = {"title": "Für Ännchen", "artist": "日本", "album": "A", "date": "1999", "genre": "Rock"}
TAGS |= {"track": "3", "comment": "none"}

every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
every_written = pytest.mark.parametrize("codec", WRITABLE.values(), ids=lambda codec: codec.name)
every_encoding = pytest.mark.parametrize(
    ("codec", "bits"),
    [(codec, bits) for codec in WRITABLE.values() for bits in codec.bits or [None]],
    ids=lambda value: getattr(value, "name", value),
)


def test_the_table_names_every_format_and_suffix_once():
    suffixes = [suffix for codec in CODECS for suffix in codec.suffixes]
    assert len({codec.name for codec in CODECS}) == len(CODECS)
    assert len({*suffixes}) == len(suffixes)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)
    assert {*suffixes} == codecs.SUFFIXES > codecs.LOSSY_SUFFIXES > {".mp3"}
    assert all(codec.suffixes[0] == f".{name}" for name, codec in WRITABLE.items())


# --- reading


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seconds of tones in every format, written by FFmpeg."""
    folder = tmp_path_factory.mktemp("codecs")
    paths = {codec.name: folder / f"song{codec.suffixes[0]}" for codec in CODECS}
    for name, path in paths.items():
        encode_format(path, name, tones(RATE, 2.0), RATE, TAGS)
    return paths


@every_codec
def test_files_are_read(files: dict[str, Path], codec: Codec):
    source = audio.open(files[codec.name])
    assert (source.sample_rate, source.channels, source.streams) == (RATE, 2, 1)
    assert source.tags.items() <= TAGS.items()
    track = gather(source)
    # Not every container says how many samples of its encoder's delay and padding to skip.
    assert 2 * RATE - 2048 <= track.shape[1] <= 2 * RATE + 4096
    assert source.length == pytest.approx(track.shape[1], rel=0.1)
    assert pitches(track[:, 4000:92000], RATE) == pytest.approx([440, 880], abs=2)
    assert torch.equal(source.read(50_000, 3000), track[:, 50_000:53_000])


@every_codec
def test_truncated_files_are_shorter_or_an_error(
    files: dict[str, Path], tmp_path: Path, codec: Codec, capfd: pytest.CaptureFixture[str]
):
    data = files[codec.name].read_bytes()
    path = tmp_path / "cut"
    for part in [0.3, 0.7]:
        path.write_bytes(data[: int(part * len(data))])
        try:
            source = audio.open(path)
            track = torch.cat([torch.zeros(source.channels, 0), *source.blocks()], dim=-1)
        except AudioError as error:
            message = str(error)
            assert message.startswith(str(path)) and "\n" not in message  # noqa: PT018
            continue
        # A page of Ogg holds up to a second, which may be all that is left.
        assert (part - 0.3) * 2 * RATE <= track.shape[1] < (part + 0.1) * 2 * RATE
    assert capfd.readouterr() == ("", "")


# --- writing


def write(folder: Path, stems: Tensor, rate: int = RATE, **options) -> dict[str, Path]:
    """Write stems `[2, channels, samples]`, and return their paths."""
    paths = {name: folder / name for name in ["drums", "bass"]}
    with audio.StemWriter(paths, rate, stems.shape[1], **options) as writer:
        for block in stems.split(10_000, dim=-1):
            writer.write(block)
    return paths


def read(paths: dict[str, Path]) -> Tensor:
    return torch.stack([gather(audio.open(path)) for path in paths.values()])


def melodies(rate: int, length: int, channels: int) -> Tensor:
    """Stems that lossy encoders like: tones that do not start from nothing."""
    stems = torch.stack([tones(rate, length / rate, channels, lowest=rate / n) for n in (200, 150)])
    return stems * torch.linspace(0, 1, length)


@every_encoding
@pytest.mark.parametrize("clip", ["rescale", "clamp", "none"])
@pytest.mark.parametrize("length", [None, 30_000])
def test_what_is_written_can_be_read(
    tmp_path: Path, codec: Codec, bits: str | None, clip: str, length: int | None
):
    stems = melodies(RATE, 30_000, 2)
    # Far below a step of 16 bits: samples must be rounded, not truncated.
    stems[1] += noise(30_000, level=2**-17)
    paths = write(tmp_path, stems, format=codec.name, bits=bits, clip=clip, length=length)
    got = read(paths)
    assert got.shape == stems.shape
    if codec.lossy:
        assert snr(got, stems) > 20
    else:
        assert bits is not None
        assert (got - stems).abs().max() <= (0 if bits.endswith("f") else 2.0 ** -int(bits))
    assert {*tmp_path.iterdir()} == {*paths.values()}


@every_written
@pytest.mark.parametrize("end", [0, -1])
def test_the_extremes_that_a_format_holds(tmp_path: Path, codec: Codec, end: int):
    rate, channels = codec.rates[end], [1, codec.most_channels][end]
    stems = noise(2 * 3000 * channels, 1).view(2, channels, 3000)
    paths = write(tmp_path, stems, rate, format=codec.name)
    sources = [audio.open(path) for path in paths.values()]
    assert {(source.sample_rate, source.channels) for source in sources} == {(rate, channels)}
    got = read(paths)
    assert got.shape == stems.shape
    assert snr(got, stems) > 3


def test_equal_stems_are_equal_files(tmp_path: Path):
    stems = melodies(RATE, 30_000, 2)
    written = []
    for again in range(2):
        time.sleep(1.1 * again)  # libraries write the time in seconds
        for codec in WRITABLE.values():
            for bits in codec.bits or [None]:
                paths = write(tmp_path, stems, format=codec.name, bits=bits, tags=TAGS)
                written += [(codec.name, bits, path.name, path.read_bytes()) for path in paths.values()]
    first, second = written[: len(written) // 2], written[len(written) // 2 :]
    assert [one[:3] for one, other in zip(first, second, strict=True) if one != other] == []


@every_written
def test_tags_are_carried(tmp_path: Path, codec: Codec):
    paths = write(tmp_path, torch.zeros(2, 2, 2000), format=codec.name, tags={**TAGS, "lyrics": "la"})
    for path in paths.values():
        assert audio.open(path).tags == TAGS


@pytest.mark.parametrize(
    ("codec", "rate"),
    [(codec, rate) for codec in WRITABLE.values() if codec.bitrates for rate in codec.rates],
    ids=lambda value: getattr(value, "name", value),
)
def test_files_have_the_bitrate_that_was_asked_for(tmp_path: Path, codec: Codec, rate: int):
    choices = next(bitrates for lowest, bitrates in codec.bitrates if rate >= lowest)
    for bitrate in [choices[0], choices[len(choices) // 2], None]:
        paths = write(tmp_path, noise(2 * rate).expand(2, 2, -1), rate, format=codec.name, bitrate=bitrate)
        with av.open(str(paths["bass"])) as file:
            packets = [packet for packet in file.demux() if packet.size]
            sizes = [packet.size * 8 / (packet.duration * packet.time_base) for packet in packets]
        assert np.mean(sizes) == pytest.approx((bitrate or choices[-1]) * 1000, rel=0.005)
        assert read(paths).shape == (2, 2, 2 * rate)
    with pytest.raises(OptionError, match=f"choose one of {choices[0]}, {choices[1]}"):
        write(tmp_path, torch.zeros(2, 2, 1), rate, format=codec.name, bitrate=7)


# --- whole or not at all


@every_encoding
@pytest.mark.parametrize("clip", ["rescale", "none"])
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(
    tmp_path: Path, codec: Codec, bits: str | None, clip: str, kind: type[BaseException]
):
    def interrupted() -> None:
        paths = {name: tmp_path / name for name in ["drums", "bass"]}
        options: dict[str, Any] = {"format": codec.name, "bits": bits, "clip": clip, "length": 5000}
        with audio.StemWriter(paths, RATE, 2, **options) as writer:
            writer.write(noise(5000)[None].repeat(2, 1, 1))
            hidden = [path.name for path in tmp_path.iterdir()]
            assert sum(name.endswith(".part") for name in hidden) == 2
            assert all(name.startswith(".") and name.endswith((".part", ".lock")) for name in hidden)
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert [*tmp_path.iterdir()] == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files: the superuser may write anywhere, but not more than this."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@every_encoding
@pytest.mark.parametrize("clip", ["rescale", "none"])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], codec: Codec, bits: str | None, clip: str
):
    stems = noise(2 * RATE).view(2, 2, RATE)
    options: dict[str, Any] = {"format": codec.name, "bits": bits, "clip": clip, "length": RATE}
    paths = write(tmp_path, stems, **options)
    size = min(path.stat().st_size for path in paths.values())
    for path in paths.values():
        path.unlink()
    # Full with the last bytes, too: libsndfile does not report it.
    for limit in [30_000, size - 3000, size - 500, size - 1]:
        with pytest.raises(OutputError) as caught, largest_file(limit):
            write(tmp_path, stems, **options)
        message = str(caught.value)
        assert message.startswith(f"cannot write {tmp_path}")
        assert "free some space" in message or "files may not grow that large here" in message
        assert [*tmp_path.iterdir()] == []
    assert capfd.readouterr() == ("", "")


@every_encoding
def test_a_file_that_lost_samples_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec, bits: str | None
):
    open_encoder = Encoding.open_encoder

    class Losing:
        def __init__(self, path: Path, encoder: Encoder) -> None:
            self.path = path
            self.encoder = encoder

        def write(self, samples: Tensor) -> None:
            self.encoder.write(samples)

        def close(self) -> None:
            self.encoder.close()
            os.truncate(self.path, self.path.stat().st_size * 2 // 3)

    def losing(encoding: Encoding, path: Path, length: int, tags: dict[str, str]) -> Encoder:
        return Losing(path, open_encoder(encoding, path, length, tags))

    monkeypatch.setattr(Encoding, "open_encoder", losing)
    with pytest.raises(OutputError, match="of its 96000 samples arrived; free some space"):
        write(tmp_path, noise(2 * RATE).expand(2, 2, -1), format=codec.name, bits=bits)
    assert [*tmp_path.iterdir()] == []
