"""What happens where memory runs out: the batch is halved, then the segment, then the CPU takes over.

Chunks that are done stay done. A chunk that does not fit is separated as a short track of its own, from
shorter chunks that overlap, so that there is no seam.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hdemucs.apply import devices
from hdemucs.apply.chunks import Chunk, cut, overlap_add
from hdemucs.model import Network
from hdemucs.model.demucs import center_trim
from hdemucs.model.fast import prepare

SHORTEST_SEGMENT = 5.0
"""Segments are not halved to less than this many seconds, since a model needs context."""

Forward = Callable[[Network, Sequence[Chunk], torch.device], list[Tensor]]
"""Separates chunks of one length by a network on the device that it is on: a tensor `[S, C, L]` for each."""


@dataclass(frozen=True)
class Limits:
    """What fits into memory.

    Attributes:
        device: Device to compute on.
        batch_size: Number of chunks in one forward pass.
        length: Length of the longest chunk, in samples.
    """

    device: torch.device
    batch_size: int
    length: int

    def reduced(self, batch: Sequence[Chunk], sample_rate: int) -> tuple["Limits", str] | None:
        """The next smaller limits after a batch did not fit, and what has changed; None if there are none.

        Args:
            batch: Chunks that did not fit.
            sample_rate: Sample rate in Hz.
        """
        count, length = len(batch), batch[0].length // 2
        if count > 1:
            return replace(self, batch_size=count // 2), f"the batch size is now {count // 2}"
        if length >= SHORTEST_SEGMENT * sample_rate:
            seconds = length / sample_rate
            return replace(self, batch_size=1, length=length), f"segments are now {seconds:.3g} s long"
        if self.device.type != "cpu":
            return replace(self, device=devices.CPU), "the rest is separated on the CPU"
        return None


class MemoryLimits:
    """Limits that all networks and threads of one separation share.

    Args:
        device: Device to compute on.
        batch_size: Number of chunks in one forward pass; None chooses it once it is known how much memory a
            chunk takes.
        length: Length of the longest chunk in samples.
        sample_rate: Sample rate in Hz.
        notice: Function that is told, in one line, what has changed because memory ran out.

    Attributes:
        current: Limits for the next forward pass.
        first_device: Device that the separation began on.
        cpu: Lock of the CPU, for when it takes over.
    """

    def __init__(
        self,
        device: torch.device,
        batch_size: int | None,
        length: int,
        sample_rate: int,
        notice: Callable[[str], None],
    ) -> None:
        self.first_device = device
        self.current = Limits(device, batch_size or 1, length)
        self._sample_rate = sample_rate
        self._notice = notice
        self._lock = threading.Lock()
        self.cpu = threading.Lock()
        # As many batches as run at the same time have to be seen at work before their memory is known.
        self._to_watch = 0 if batch_size else devices.streams(device)
        self._before = devices.allocated(device)
        devices.reset_peak(device)

    def reduce(self, tried: Limits, batch: Sequence[Chunk]) -> bool:
        """Choose smaller limits; False if there are none.

        Args:
            tried: Limits that proved too large, unless another thread has replaced them already.
            batch: Chunks that did not fit.
        """
        with self._lock:
            if self.current == tried:
                reduced = tried.reduced(batch, self._sample_rate)
                if reduced is None:
                    return False
                self.current, change = reduced
                self._to_watch = 0
                self._notice(f"{tried.device} ran out of memory: {change}")
        return True

    def watch(self) -> None:
        """Take note that a batch was separated, and fit the batch size to its memory."""
        with self._lock:
            if self._to_watch:
                self._to_watch -= 1
                if not self._to_watch:
                    size = devices.fitting_batch(self.current.device, self._before)
                    self.current = replace(self.current, batch_size=size)


class Runner:
    """One network, run on batches of chunks within what memory allows.

    Args:
        network: Network, on the device of the limits.
        prepared: The network as `prepare` copied it for inference on that device.
        forward: Forward pass.
        limits: Limits shared with other networks.
        overlap: Fraction that the pieces of a chunk that does not fit share with the next.
    """

    def __init__(
        self, network: Network, prepared: Network, forward: Forward, limits: MemoryLimits, overlap: float
    ) -> None:
        self._network = network
        self._prepared = prepared
        self._forward = forward
        self._limits = limits
        self._overlap = overlap

    def __call__(self, batch: Sequence[Chunk]) -> list[Tensor]:
        """Outputs `[S, C, L]` for chunks of one length.

        Raises:
            RuntimeError: Even the smallest batch of the shortest segments does not fit on the CPU.
            MemoryError: The same.
        """
        while True:
            limits = self._limits.current
            if len(batch) > limits.batch_size:
                parts = [batch[i : i + limits.batch_size] for i in range(0, len(batch), limits.batch_size)]
                return [out for part in parts for out in self(part)]
            if batch[0].length > limits.length:
                return [self._in_pieces(chunk, limits.length) for chunk in batch]
            try:
                outputs = self._run(batch, limits.device)
            except (RuntimeError, MemoryError) as error:
                if not (devices.is_out_of_memory(error) and self._limits.reduce(limits, batch)):
                    raise
            else:
                self._limits.watch()
                return outputs
            # Only here, beyond the exception that holds on to them, are the tensors of the failed pass gone.
            devices.release_memory(limits.device)

    def _in_pieces(self, chunk: Chunk, length: int) -> Tensor:
        stride = max(1, int((1 - self._overlap) * length))
        pieces = cut([chunk.padded], length, stride, self._network.valid_length)
        outputs = overlap_add((self([piece])[0] for piece in pieces), length, stride)
        return center_trim(torch.cat(list(outputs), -1), chunk.length)

    def _run(self, batch: Sequence[Chunk], device: torch.device) -> list[Tensor]:
        if device == self._limits.first_device:
            return self._forward(self._prepared, batch, device)
        # The CPU works on one batch with all of its threads, however many feed an accelerator.
        with self._limits.cpu:
            return self._forward(self._copy, batch, device)

    @cached_property
    def _copy(self) -> Network:
        """The network on the CPU, in float32: a copy, since other threads may still be using the original."""
        return prepare(devices.copy_to(self._network, devices.CPU), torch.float32)
