"""Commands killed at random moments: nothing half-written has a final name, and the next run goes on."""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import huggingface_hub.constants
import pytest

from hdemucs import pretrained
from hdemucs.audio.codecs import WRITABLE
from hdemucs.cli import main
from hdemucs.pretrained import ModelFile, get_card
from hdemucs.training.run import Run
from tests.audio.signals import noise
from tests.cli.command import write
from tests.cli.processes import command, contents, damaged, finish, hidden, killed
from tests.conftest import TINY_RATE
from tests.evaluation.songs import write_song
from tests.pretrained.conftest import BODY, SHA256
from tests.pretrained.server import FileServer, serving
from tests.training.runs import same_run
from tests.training.songs import SMALL, write_songs

pytestmark = pytest.mark.fuzz


class Killer:
    """Kills commands, each at a moment of its own within the time that an undisturbed run takes."""

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said"
        self.variables = {"XDG_CACHE_HOME": str(folder / "cache")}
        self.seconds = 0.0
        self.killed = 0

    def command(self, *argv: str | Path) -> Callable[[], int]:
        return partial(command, [str(argument) for argument in argv], self.variables)

    def measure(self, call: Callable[[], int]) -> None:
        """Run to the end, to learn how long that takes."""
        self.seconds = finish(call, self.said)

    def kill(self, call: Callable[[], int], seed: int) -> bool:
        """Run up to a random moment; returns whether the end came first."""
        dead = killed(call, self.said, random.Random(seed).uniform(0, self.seconds))
        self.killed += dead
        return not dead

    def finish(self, call: Callable[[], int]) -> None:
        finish(call, self.said)


@pytest.fixture
def killer(tmp_path: Path, record_property: Any) -> Iterator[Killer]:
    killer = Killer(tmp_path)
    # The first process imports all that the others are forked with.
    killer.finish(killer.command("models"))
    yield killer
    record_property("search", f"{killer.killed} kills within {killer.seconds:.1f} s of a run")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.mark.parametrize("old", [False, True], ids=["new", "overwritten"])
def test_separate(killer: Killer, tiny: Path, tmp_path: Path, kills: range, old: bool) -> None:
    songs = [write(tmp_path / f"{number}.wav", noise(5 * TINY_RATE, seed=number)) for number in range(3)]
    for seed in kills[: len(kills) // 2] if old else kills[len(kills) // 2 :]:
        format = sorted(WRITABLE)[seed % len(WRITABLE)]
        out, before, whole = (tmp_path / f"{name} {seed}" for name in ("out", "before", "whole"))

        def separate(folder: Path, existing: str, *more: str, format: str = format) -> Callable[[], int]:
            options = ["-n", tiny, "-o", folder, "--format", format, existing, *more]
            return killer.command("separate", *songs, *map(str, options))

        killer.finish(separate(before, "--overwrite", "--overlap", "0.1"))
        if old:
            killer.finish(separate(out, "--overwrite", "--overlap", "0.1"))
        killer.measure(separate(whole, "--overwrite"))
        killer.kill(separate(out, "--overwrite"), seed)
        assert damaged(out, contents(whole), contents(before)) == [], seed
        if old:
            # An old stem is there until a new one is.
            assert {*contents(before)} <= {*contents(out)}, seed
        killer.finish(separate(out, "--overwrite" if old else "--skip-existing"))
        assert contents(out) == contents(whole), seed


def test_evaluate(killer: Killer, tiny: Path, tmp_path: Path, kills: range) -> None:
    for index in range(3):
        write_song(tmp_path / "musdb" / "test" / f"Song {index}", 1.5 + 0.5 * index, index)

    def evaluate(out: Path) -> Callable[[], int]:
        return killer.command(
            "evaluate", "-n", "oracle:irm", "--musdb", tmp_path / "musdb", "-o", out, "--plots"
        )

    killer.measure(evaluate(tmp_path / "whole"))
    whole = contents(tmp_path / "whole")
    for seed in kills:
        out = tmp_path / f"out {seed}"
        killer.kill(evaluate(out), seed)
        assert damaged(out, whole) == [], seed
        killer.finish(evaluate(out))
        assert hidden(out) == [], seed
        assert {*contents(out)} == {*whole}, seed
        for name in ("table.md", "summary.json", "sdr_by_song.png"):
            assert contents(out)[name] == whole[name], seed


def test_train(killer: Killer, tmp_path: Path, kills: range) -> None:
    """Killed again and again, and resumed, a run ends as one does that was left alone."""
    songs = write_songs(tmp_path / "songs")
    settings = [*SMALL, "epochs=2", "checkpoint_minutes=0.0001"]

    def train(run: Run) -> Callable[[], int]:
        if run.initial.exists():
            return killer.command("train", "--resume", run.folder)
        return killer.command("train", "--config", "debug", f"data={songs}", "-o", run.folder, *settings)

    whole = Run(tmp_path / "whole")
    killer.measure(train(whole))
    run, ended = Run(tmp_path / "killed"), True
    for seed in kills:
        if ended and run.initial.exists():
            run = Run(tmp_path / f"killed {seed}")
        ended = killer.kill(train(run), seed)
        assert damaged(run.folder, contents(whole.folder)) == [], seed
        if ended or seed % 5 == 0 or seed == kills[-1]:
            ended = True
            killer.finish(train(run))
            assert same_run(run, whole), seed
            assert hidden(run.folder) == [], seed
            for name in ("best", "checkpoint", "curves", "config", "metrics"):
                assert getattr(run, name).exists(), seed


def fetch(url: str, cache: Path) -> int:
    """`hdemucs models download` of a model that only this test knows, which keeps every KiB that arrives."""
    os.environ["TORCH_HOME"] = str(cache)
    huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1024
    card = replace(get_card("mdx"), name="tiny", files=(ModelFile(url, SHA256, len(BODY)),), weights=None)
    with patch.object(pretrained, "get_card", lambda _: card):
        return main(["models", "download", "tiny"])


def test_download(killer: Killer, server: FileServer, tmp_path: Path, kills: range) -> None:
    url = server.add("/models/a.th", BODY)
    server.pause = 0.02
    killer.measure(partial(fetch, url, tmp_path / "whole"))
    for seed in kills:
        cache = tmp_path / f"cache {seed}"
        files = cache / "hub" / "checkpoints"
        ended = killer.kill(partial(fetch, url, cache), seed)
        part = files / ".a.th.part"
        kept = part.stat().st_size if part.exists() else 0
        assert (files / "a.th").exists() == ended, seed
        assert not part.exists() or BODY.startswith(part.read_bytes()), seed
        server.log.clear()
        time.sleep(0.05)  # the server may still be answering the dead
        killer.finish(partial(fetch, url, cache))
        assert [request.range for request in server.gets()] == (
            [] if ended or kept == len(BODY) else [f"bytes={kept}-"] if kept else [None]
        ), seed
        assert contents(files)["a.th"] == BODY, seed
        assert hidden(files) == [], seed
