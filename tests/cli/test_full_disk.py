"""Every command on disks that are full, from the first byte and file it writes to the last."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import yaml

from hdemucs import checkpoint
from hdemucs.audio.codecs import WRITABLE
from hdemucs.datasets import Song
from hdemucs.errors import HDemucsError
from hdemucs.synthesis import dataset
from hdemucs.synthesis.song import STEMS, Multitrack
from hdemucs.training.automix import analysis
from hdemucs.training.automix.analysis import Analysis
from tests.audio.signals import noise
from tests.cli.command import write
from tests.cli.disks import Laboratory, Outcome, Trial
from tests.cli.processes import command, contents, finish
from tests.cli.test_kills import fetch
from tests.conftest import TINY_RATE, tiny_network
from tests.evaluation.songs import write_song
from tests.pretrained.conftest import BODY
from tests.pretrained.server import serving
from tests.training.songs import SMALL, write_songs

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    try:
        laboratory = Laboratory()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield laboratory
    laboratory.close()


@dataclass(frozen=True)
class World:
    """What commands work on.

    Attributes:
        folder: Folder of this test.
        disk: Folder at which disks are mounted.
        before: Folder of what is on the disk beforehand.
        model: Tiny model file.
    """

    folder: Path
    disk: Path
    before: Path
    model: Path

    @property
    def song(self) -> Path:
        return write(self.folder / "song.wav", noise(4 * TINY_RATE))

    def command(self, *argv: str | Path) -> Callable[[], int]:
        """A command whose caches are on the disk as well."""
        variables = {"XDG_CACHE_HOME": str(self.disk / "cache")}
        return partial(command, [str(argument) for argument in argv], variables)

    def separate(self, *argv: str | Path) -> Callable[[], int]:
        return self.command("separate", self.song, "-n", self.model, "-o", self.disk, *argv)

    def beforehand(self, *argv: str | Path) -> None:
        """Run a command whose output is on the disk beforehand."""
        finish(partial(command, [str(argument) for argument in argv], {}), self.folder / "said")


def separate(world: World, format: str, bits: str | None) -> Callable[[], int]:
    return world.separate("--format", format, *(["--bits", bits] if bits else []))


def overwrite(world: World) -> Callable[[], int]:
    world.beforehand("separate", world.song, "-n", world.model, "-o", world.before, "--overlap", "0.1")
    return world.separate("--overwrite")


def complete(world: World) -> Callable[[], int]:
    world.beforehand("separate", world.song, "-n", world.model, "-o", world.before, "--stems", "bass")
    return world.separate("--skip-existing")


def piped(song: Path, call: Callable[[], int], folder: Path) -> int:
    sys.stdin = song.open()
    folder.mkdir(exist_ok=True)
    tempfile.tempdir = str(folder)
    return call()


def pipe(world: World) -> Callable[[], int]:
    call = world.command("separate", "-", "-n", world.model, "-o", world.disk)
    (world.before / "tmp").mkdir()
    return partial(piped, world.song, call, world.disk / "tmp")


def demo(world: World) -> Callable[[], int]:
    return world.command("demo", "-n", world.model, "-o", world.disk)


def evaluate(world: World) -> Callable[[], int]:
    write_song(world.folder / "musdb" / "test" / "Song", 1.5, 0)
    songs, run = world.folder / "musdb", world.disk / "run"
    return world.command("evaluate", "-n", "oracle:irm", "--musdb", songs, "-o", run, "--plots")


def train(world: World) -> Callable[[], int]:
    songs = write_songs(world.folder / "songs", 2)
    settings = [*SMALL, "epochs=1", "steps_per_epoch=2", "checkpoint_minutes=0.0001"]
    return world.command("train", "--config", "debug", f"data={songs}", "-o", world.disk / "run", *settings)


def resume(world: World) -> Callable[[], int]:
    songs, run = write_songs(world.folder / "songs", 2), world.before / "run"
    settings = [*SMALL, "epochs=1", "steps_per_epoch=2"]
    world.beforehand("train", "--config", "debug", f"data={songs}", "-o", run, *settings)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "epochs": 2}))
    return world.command("train", "--resume", world.disk / "run")


def _noise(seed: int, *_: object, **__: object) -> Multitrack:
    """Stands in for `make_song`, which needs sounds that not every machine has."""
    rng = np.random.default_rng(seed)
    stems = {name: rng.uniform(-0.2, 0.2, (2, 20_000)).astype(np.float32) for name in STEMS}
    return Multitrack("noise", stems, {"style": "none"})


def making(call: Callable[[], int]) -> int:
    with patch.multiple(dataset, make_song=_noise, require_sounds=lambda **_: None):
        return call()


def make_songs(world: World, format: str) -> Callable[[], int]:
    return partial(making, world.command("make-songs", world.disk, "--songs", "2", "--format", format))


def _steady(song: Song) -> Analysis:
    """Stands in for `analyse`, which takes seconds."""
    beats = [0.5 * number for number in range(16)]
    return Analysis(song.name, 8.0, beats, [1.0, *[0.0] * 11], {name: [1.0] * 8 for name in song.sources})


def remixing(call: Callable[[], int]) -> int:
    with patch.object(analysis, "analyse", _steady):
        return call()


def remix(world: World) -> Callable[[], int]:
    for index in range(3):
        write_song(world.folder / "songs" / "train" / str(index), 8.0, index, mixture=False)
    options = ["--songs", "1", "--seconds", "4", "--validation", "0"]
    return partial(remixing, world.command("remix", world.folder / "songs", "-o", world.disk, *options))


def saved(path: Path) -> int:
    try:
        checkpoint.save(tiny_network(), path)
    except HDemucsError as error:
        print(f"hdemucs: {error}", file=sys.stderr)
        return 1
    return 0


def save(world: World) -> Callable[[], int]:
    return partial(saved, world.disk / "models" / "tiny.safetensors")


COMMANDS: dict[str, Callable[[World], Callable[[], int]]] = {
    **{
        f"separate {codec.name} {bits or ''}".strip(): partial(separate, format=codec.name, bits=bits)
        for codec in WRITABLE.values()
        for bits in codec.bits or [None]
    },
    "separate, overwriting": overwrite,
    "separate what is missing": complete,
    "separate from a pipe": pipe,
    "demo": demo,
    "evaluate": evaluate,
    "train": train,
    "resume": resume,
    "make-songs wav": partial(make_songs, format="wav"),
    "make-songs flac": partial(make_songs, format="flac"),
    "remix": remix,
    "save": save,
}


def faults_of(outcome: Outcome, whole: Outcome, before: frozenset[str]) -> str:
    """What is wrong: a command succeeds, or says in one line why not; either way nothing is half there."""
    complaints = [line for line in outcome.said.splitlines() if line.startswith("hdemucs: ")]
    # Caches may be missing: nothing but time is lost without them.
    written = {name for name in whole.files if not name.startswith(("cache/", "run/tensorboard"))}
    faults = {
        "status": outcome.status not in (0, 1),
        "complaints": outcome.status != len(complaints),
        "noise": any(word in outcome.said for word in ("Traceback", "Warning", "Error", "Errno")),
        f"damaged {outcome.damaged}": outcome.damaged != (),
        f"hidden {outcome.hidden}": outcome.hidden != (),
        "lost": not before <= outcome.files,
        "missing": outcome.status == 0 and not written <= outcome.files,
    }
    found = ", ".join(name for name, is_so in faults.items() if is_so)
    return f"{outcome.room}, status {outcome.status}: {found}\n{outcome.said[-1500:]}" if found else ""


@pytest.fixture
def world(tiny: Path, tmp_path: Path) -> World:
    for name in ("disk", "before"):
        (tmp_path / name).mkdir()
    return World(tmp_path, tmp_path / "disk", tmp_path / "before", tiny)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(
    name: str, laboratory: Laboratory, world: World, disks: int, record_property: Any
) -> None:
    check_outcomes(
        laboratory.outcomes(Trial(COMMANDS[name](world), world.disk, world.before, disks)),
        world,
        record_property,
    )


def test_a_download_to_a_full_disk(
    laboratory: Laboratory, world: World, disks: int, record_property: Any
) -> None:
    with serving() as server:
        call = partial(fetch, server.add("/models/a.th", BODY), world.disk)
        outcomes = laboratory.outcomes(Trial(call, world.disk, world.before, disks))
    # What has arrived of a download is kept, for the next one to resume.
    part = "hub/checkpoints/.a.th.part"
    outcomes = [replace(one, hidden=tuple(name for name in one.hidden if name != part)) for one in outcomes]
    check_outcomes(outcomes, world, record_property)


def check_outcomes(outcomes: Sequence[Outcome], world: World, record_property: Any) -> None:
    whole, *others = outcomes
    assert whole.status == 0, whole
    failed = sum(outcome.status != 0 for outcome in others)
    record_property("search", f"{len(others)} full disks, {failed} of them too small")
    before = frozenset(contents(world.before))
    faults = [fault for outcome in outcomes if (fault := faults_of(outcome, whole, before))]
    assert not faults, "\n".join([f"{len(faults)} of {len(others)}", *faults[:5]])
