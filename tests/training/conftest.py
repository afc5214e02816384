"""Fixtures for all training tests: a cache of scans of their own, and a single thread."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def cache_of_scans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cache folder for this session, also for processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Sums are reproducible only with the same number of threads, and tiny networks are fastest on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
