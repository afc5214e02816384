"""Broken audio files of every readable format: each is read or refused, soon and in one line."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdemucs import audio
from hdemucs.audio.codecs import CODECS
from hdemucs.errors import AudioError
from tests.audio.signals import encode_format, tones
from tests.fuzzing import search

RATE = 48000


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of a second of tones in every format."""
    folder = tmp_path_factory.mktemp("originals")
    for codec in CODECS:
        encode_format(folder / f"song{codec.suffixes[0]}", codec.name, tones(RATE, 0.33), RATE)
    return folder


def mutated(data: bytes, other: bytes, dice: np.random.Generator) -> bytes:
    """A broken copy of a file: bits flipped, numbers replaced, an end lost, or a piece spliced in."""
    broken = bytearray(data)
    # Headers are where a wrong bit does most.
    reach = int(dice.choice([64, 512, len(data)]))
    kind = dice.integers(6)
    if kind < 2:
        for place in dice.integers(0, min(reach, len(data)), dice.choice([1, 4, 32])):
            broken[place] ^= 1 << int(dice.integers(8))
    elif kind == 2:
        place = int(dice.integers(0, max(1, min(reach, len(data) - 8))))
        broken[place : place + 4] = dice.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", dice.bytes(4)])
    elif kind == 3:
        del broken[int(dice.integers(1, len(data))) :]
    else:
        source = data if kind == 4 else other
        start, end = sorted(dice.integers(0, len(source), 2).tolist())
        place = int(dice.integers(0, min(reach, len(data))))
        broken[place : place + int(dice.integers(0, 2000))] = source[start:end]
    return bytes(broken)


def read_broken(originals: Path, folder: Path, seed: int) -> bool:
    """Read a broken copy of a file as a separation does; returns whether it was refused."""
    dice = np.random.default_rng(seed)
    files = sorted(originals.iterdir())
    original, other = files[seed % len(files)], files[dice.integers(len(files))]
    path = folder / original.name
    path.write_bytes(mutated(original.read_bytes(), other.read_bytes(), dice))
    try:
        source = audio.open(path)
        length = 0
        for block in audio.convert(source, 44100, 2):
            assert block.isfinite().all()
            length += block.shape[-1]
            assert length < 3600 * 44100
        assert all(str(path) in warning and "\n" not in warning for warning in source.warnings)
        part = source.read(5000, 1000)
        assert part.shape[0] == source.channels
    except AudioError as error:
        message = str(error)
        assert str(path) in message
        assert "\n" not in message
        assert len(message) < 1000
        return True
    return False


def test_some_broken_files_are_read_or_refused(
    originals: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = [read_broken(originals, tmp_path, seed) for seed in range(12 * len(CODECS))]
    assert {*refused} == {True, False}
    assert capfd.readouterr() == ("", "")


@pytest.mark.fuzz
def test_broken_files_are_read_or_refused(
    originals: Path, tmp_path: Path, mutants: range, capfd: pytest.CaptureFixture[str], record_property: Any
) -> None:
    found = search(partial(read_broken, originals, tmp_path), mutants)
    record_property("search", str(found))
    assert found.faults == {}
    assert capfd.readouterr() == ("", "")
