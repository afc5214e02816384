"""Which device is found, what an accelerator gets to do, and how a model is copied to another device."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from hdemucs.apply import Options, apply, apply_model, devices
from hdemucs.apply.parallel import read_ahead
from hdemucs.errors import OptionError
from hdemucs.model import HDemucs
from hdemucs.model.spectrogram import complex_device
from tests.apply.accelerator import SmallMemory


@pytest.mark.parametrize(
    ("present", "expected"), [([], "cpu"), (["xpu", "mps"], "mps"), (["xpu", "cuda", "mps"], "cuda")]
)
@pytest.mark.parametrize("name", [None, "auto"])
def test_the_first_device_that_works_is_found(
    name: str | None, present: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_working", lambda kind: torch.device(kind) if kind in present else None)
    assert devices.find_device(name) == torch.device(expected)


@pytest.mark.parametrize("name", ["cuda:99", "toaster", ""])
def test_missing_devices_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="not available here"):
        Options(device=name).torch_device()


def test_the_batch_fills_most_of_the_memory() -> None:
    assert [devices.largest_batch(free, 100) for free in (0, 100, 223, 250, 500, 10**6)] == [1, 1, 2, 2, 4, 8]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (MemoryError(), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert devices.is_out_of_memory(error) == expected


def test_a_copied_model_is_equal_and_independent() -> None:
    model = HDemucs(["one"], channels=4, depth=5, n_fft=1024).eval()
    copy = devices.copy_to(model, torch.device("cpu"))
    x = torch.randn(1, 2, 3000)
    with torch.inference_mode():
        assert torch.equal(copy(x), model(x))
    pointers = {weight.data_ptr() for weight in model.state_dict().values()}
    assert pointers.isdisjoint(weight.data_ptr() for weight in copy.state_dict().values())


def test_an_accelerator_gives_what_the_cpu_gives(accelerator: torch.device) -> None:
    mix = torch.randn(1, 3000)
    model = SmallMemory(float("inf"))
    blocks = apply(model, mix.split(70, -1), Options(device=accelerator, shifts=2))  # type: ignore[arg-type]
    expected = apply_model(model, mix, Options(shifts=2))  # type: ignore[arg-type]
    assert torch.equal(torch.cat(list(blocks), -1), expected)


def test_stopping_beside_an_accelerator_stops_the_reading(accelerator: torch.device) -> None:
    read = 0

    def source() -> Iterator[Tensor]:
        nonlocal read
        while True:
            read += 1
            yield torch.zeros(1, 100)

    stream = apply(SmallMemory(1000), source(), Options(device=accelerator))  # type: ignore[arg-type]
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert read < 30


def test_reading_ahead_passes_on_blocks_and_errors_in_order() -> None:
    def source() -> Iterator[Tensor]:
        yield from torch.arange(9.0).split(2)
        raise OSError("gone")

    seen: list[Tensor] = []
    with pytest.raises(OSError, match="gone"):
        seen.extend(read_ahead(source()))
    assert torch.cat(seen).tolist() == list(range(9))


def test_spectrograms_go_to_the_cpu_where_there_are_no_complex_numbers() -> None:
    """A device that this machine does not even have cannot do it either."""
    missing = torch.device("xpu:99")
    assert complex_device(missing) == torch.device("cpu")
    assert complex_device(torch.device("cpu")) == torch.device("cpu")
