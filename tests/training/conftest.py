"""Training tests have a cache of their own for scans of songs, and run on one thread."""

from collections.abc import Iterator

import pytest
import torch


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
