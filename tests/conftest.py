"""What tests of several rooms share: a model of a few thousand weights, and a song to separate with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from hdemucs.checkpoint import save
from hdemucs.model import HDemucs
from tests.audio.signals import noise, tones
from tests.reference import SOURCES, randomise

TINY_RATE = 8000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the searches marked `fuzz`; see `tests.fuzzing`."""
    group = parser.getgroup("fuzz", "searches for faults")
    group.addoption(
        "--mutants", type=int, default=1000, help="broken files of audio, and of models (default: 1000)"
    )
    group.addoption("--kills", type=int, default=2, help="kills of each command (default: 2)")
    group.addoption("--disks", type=int, default=1, help="sizes of a full disk, of each command (default: 1)")
    group.addoption("--first-seed", type=int, default=0, help="first seed, to search elsewhere (default: 0)")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much each search tried."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "search" and report.when == "teardown":
                    terminalreporter.write_line(f"{report.nodeid}: {value}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no GPU; those marked `sounds` check for themselves."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu") is not None:
                item.add_marker(pytest.mark.skip(reason="torch finds no GPU on this machine"))


def tiny_network(seed: int = 0, sample_rate: int = TINY_RATE) -> HDemucs:
    """Hybrid Demucs without LSTM and attention, at 8 kHz, with segments of one second."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = HDemucs(
            SOURCES,
            channels=4,
            depth=5,
            n_fft=1024,
            lstm_starts=99,
            attention_starts=99,
            sample_rate=sample_rate,
            segment=1,
        )
    randomise(model, seed)
    return model.eval()


def _seeds(config: pytest.Config, option: str) -> range:
    first = config.getoption("--first-seed")
    return range(first, first + config.getoption(option))


@pytest.fixture(autouse=True, scope="session")
def float32() -> Iterator[None]:
    """The automatic precision is float32 in tests, whatever the processor: they compare with references."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("hdemucs.apply.precision.cpu_has_bfloat16", bool)
        yield


@pytest.fixture(scope="session")
def mutants(pytestconfig: pytest.Config) -> range:
    """Seeds of broken files."""
    return _seeds(pytestconfig, "--mutants")


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> range:
    """Seeds of the moments at which a command is killed."""
    return _seeds(pytestconfig, "--kills")


@pytest.fixture(scope="session")
def disks(pytestconfig: pytest.Config) -> int:
    """Number of sizes of a full disk."""
    number: int = pytestconfig.getoption("--disks")
    return number


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file."""
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save(tiny_network(), path)
    return path


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.6 s of stereo at the model's sample rate, in floating point, so that nothing is lost in the file."""
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    samples = tones(TINY_RATE, 2.6) + noise(round(2.6 * TINY_RATE))
    soundfile.write(path, samples.T.numpy(), TINY_RATE, subtype="FLOAT")
    return path
