"""Memory that runs out: smaller batches, shorter segments, then the CPU, each said, without a seam."""

import copy
from typing import Any

import pytest
import torch

from hdemucs.apply import Options, apply, devices
from hdemucs.errors import OptionError
from hdemucs.separator import Separator
from tests.apply.accelerator import SmallMemory
from tests.conftest import TINY_RATE, tiny_network

# Segments are 400 samples, and are not halved to less than 50.
MIX = torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))


def run(model: Any, **options: Any) -> list[str]:
    """Separate `MIX`, check that the result is exact everywhere, and return the notices."""
    notices: list[str] = []
    blocks = list(apply(model, MIX.split(300, -1), Options(**options), notice=notices.append))
    torch.testing.assert_close(torch.cat(blocks, -1), MIX[None], rtol=0, atol=1e-6)
    return notices


def test_the_batch_is_halved_first(accelerator: torch.device) -> None:
    model = SmallMemory(900)
    notices = run(model, device=accelerator, batch_size=4)
    assert notices == ["xpu ran out of memory: the batch size is now 2"]
    assert max(size for size, _ in model.batches[1:]) <= 2


@pytest.mark.parametrize("context", [0, 13])
def test_then_the_segment_is_halved(accelerator: torch.device, context: int) -> None:
    model = SmallMemory(130, context)
    assert run(model, device=accelerator, batch_size=2) == [
        "xpu ran out of memory: the batch size is now 1",
        "xpu ran out of memory: segments are now 20 s long",
        "xpu ran out of memory: segments are now 10 s long",
    ]


def test_the_cpu_takes_over_last(accelerator: torch.device) -> None:
    model = SmallMemory(10)
    notices = run(model, device=accelerator)
    assert notices[-2:] == [
        "xpu ran out of memory: segments are now 5 s long",
        "xpu ran out of memory: the rest is separated on the CPU",
    ]
    assert len(notices) == len(model.batches) == 4


def test_what_is_done_is_not_done_again(accelerator: torch.device) -> None:
    """Memory that another program takes in the middle of a track."""
    model = SmallMemory(1000)
    notices: list[str] = []
    stream = apply(model, [MIX], Options(device=accelerator, overlap=0), notice=notices.append)  # type: ignore[arg-type]
    blocks = [next(stream)]
    before = len(model.batches)
    model.memory[0] = 0
    blocks += stream
    torch.testing.assert_close(torch.cat(blocks, -1), MIX[None], rtol=0, atol=1e-6)
    assert before >= 1
    assert model.batches[:before] == [(1, 400)] * before
    assert notices[-1].endswith("separated on the CPU")


def test_a_model_that_does_not_fit_runs_on_the_cpu(
    accelerator: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(devices, "place", full)
    assert run(SmallMemory(1000), device=accelerator) == [
        "xpu has too little memory for the model: the CPU is used instead"
    ]


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_cpu_halves_segments_too(jobs: int) -> None:
    assert run(SmallMemory(100), jobs=jobs) == [
        "cpu ran out of memory: segments are now 20 s long",
        "cpu ran out of memory: segments are now 10 s long",
    ]


def test_too_little_for_the_shortest_segment_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        run(SmallMemory(10))


def test_other_errors_are_passed_on(accelerator: torch.device) -> None:
    def broken(mix: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("size mismatch")

    model = SmallMemory(1000)
    model.forward = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="size mismatch"):
        run(model, device=accelerator)


def test_the_stems_say_so(accelerator: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """One notice for the track, which names it; the stems are those of the CPU."""
    model = tiny_network()
    mix = MIX.expand(2, -1)
    expected = Separator(model).separate(mix, TINY_RATE)
    on_cpu = copy.deepcopy(model)

    def forward(mix: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(model, "forward", forward)
    monkeypatch.setattr(devices, "copy_to", lambda network, device: on_cpu)
    stems = Separator(model, device="xpu").separate(mix, TINY_RATE)
    assert stems.warnings == ("<samples>: xpu ran out of memory: the rest is separated on the CPU",)
    assert all(torch.equal(stems[name], expected[name]) for name in expected)


def test_without_a_fallback_the_error_names_the_track() -> None:
    separator = Separator(tiny_network())
    separator.model.forward = lambda mix: (_ for _ in ()).throw(MemoryError())  # type: ignore[method-assign]
    with pytest.raises(OptionError, match="<samples>: cpu has too little memory"):
        separator.separate(MIX, TINY_RATE)
