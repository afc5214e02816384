"""Training tests share songs and runs, have a cache of their own for scans, and run on one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hdemucs.training.run import Run
from tests.training.runs import train
from tests.training.songs import write_songs


@pytest.fixture(autouse=True, scope="session")
def cache_of_scans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cache folder for this session, which processes started by tests use as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Sums depend on the number of threads, and networks this small are faster on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def songs(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="package")
def finished(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was never interrupted."""
    run = Run(tmp_path_factory.mktemp("runs") / "whole")
    assert train(songs, run.folder) == 0
    return run


@pytest.fixture(scope="package")
def first_epoch(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch."""
    run = Run(tmp_path_factory.mktemp("runs") / "first epoch")
    assert train(songs, run.folder, "epochs=1") == 0
    return run
