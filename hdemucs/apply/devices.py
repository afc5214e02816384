"""Devices: which one to run on, what it can do, its memory, and moving models and tensors to and from it."""

import contextlib
import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from hdemucs.errors import OptionError

ModelT = TypeVar("ModelT", bound=nn.Module)

CPU = torch.device("cpu")
ACCELERATORS = ("cuda", "mps", "xpu")
"""Kinds of accelerators, in the order in which they are looked for: NVIDIA and AMD, Apple, Intel."""

LARGEST_BATCH = 8
"""Largest batch that is chosen automatically: beyond a few segments, throughput no longer grows."""

_MEMORY_ERRORS = ("allocate memory", "out of memory", "alloc_failed")


def find_device(name: str | torch.device | None) -> torch.device:
    """Find a device and check that it works.

    Args:
        name: Name that torch gives the device, such as `cuda:1`; `auto` or None for the first of
            `ACCELERATORS` that works here, else the CPU.

    Raises:
        OptionError: This machine does not have the device, or torch does not know its name.
    """
    if name is None or name == "auto":
        return next((device for kind in ACCELERATORS if (device := _working(kind)) is not None), CPU)
    device = _working(name)
    if device is None:
        raise OptionError(f"device {str(name)!r} is not available here; try cpu")
    return device


def _working(name: str | torch.device) -> torch.device | None:
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, TypeError):
        return None
    return device


def numbered(device: torch.device) -> torch.device:
    """The GPU that `cuda` stands for in this thread: in another thread, it may be a different one."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def all_gpus(device: torch.device) -> list[torch.device]:
    """All GPUs of a machine, its own first, if the device is CUDA without a number; else just the device."""
    own = numbered(device)
    if own == device:
        return [device]
    every = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [own, *(gpu for gpu in every if gpu != own)]


def streams(device: torch.device) -> int:
    """Number of threads that keep a device busy: one computes while the other's tensors are copied.

    Only CUDA has streams that torch lets run side by side.
    """
    return 2 if device.type == "cuda" else 1


def enter_stream(device: torch.device) -> None:
    """Give the calling thread a stream of its own, so that it does not wait for the copies of others."""
    if device.type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream(device))


def place(model: nn.Module, device: torch.device) -> None:
    """Move a model to a device."""
    model.to(device)
    if device.type == "cuda":
        # Threads with streams of their own must not start before the weights have arrived.
        torch.cuda.synchronize(device)


def copy_to(model: ModelT, device: torch.device) -> ModelT:
    """Copy a model to another device, without needing memory on its own, and leave the original alone."""
    tensors = {id(weight): weight.detach().to(device, copy=True) for weight in model.buffers()}
    for weight in model.parameters():
        tensors[id(weight)] = nn.Parameter(weight.detach().to(device, copy=True), weight.requires_grad)
    return copy.deepcopy(model, tensors)


def upload(x: Tensor, device: torch.device) -> Tensor:
    """Move a tensor from the CPU to a device; to CUDA without waiting for the copy to end."""
    if device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def download(x: Tensor) -> Tensor:
    """Move a tensor to the CPU, waiting for the thread's own stream only."""
    if x.device.type != "cuda":
        return x.cpu()
    # Without blocking, torch copies to pinned memory, several times as fast.
    host = x.to("cpu", non_blocking=True)
    torch.cuda.current_stream(x.device).synchronize()
    return host


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device, or the CPU, has too little memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MEMORY_ERRORS)
    )


def release_memory(device: torch.device) -> None:
    """Give back what torch keeps of the memory of an accelerator that ran out."""
    if device.type != "cpu":
        with contextlib.suppress(RuntimeError, AttributeError):
            getattr(torch, device.type).empty_cache()


def reset_peak(device: torch.device) -> None:
    """Start measuring for `fitting_batch`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def fitting_batch(device: torch.device, before: int) -> int:
    """Batch size that fits into the free memory of a device, judged by the peak since `reset_peak`.

    Args:
        device: Device; those whose memory torch does not measure get 1.
        before: Memory in bytes that was allocated at `reset_peak`.

    Returns:
        A power of two, so that small differences in free memory do not change it.
    """
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return largest_batch(free + kept, torch.cuda.max_memory_allocated(device) - before)


def largest_batch(free: int, needed: int) -> int:
    """Largest power of two, up to `LARGEST_BATCH`, of which nine tenths of the free memory hold the need.

    Args:
        free: Free memory in bytes.
        needed: Memory that batches of one segment need, in bytes.
    """
    size = 1
    while 2 * size <= LARGEST_BATCH and 2 * size * needed <= 0.9 * free:
        size *= 2
    return size


def allocated(device: torch.device) -> int:
    """Memory in bytes that tensors take on a device; 0 where torch does not measure it."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
