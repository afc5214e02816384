"""Processes that train one network together."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator, PartialState

from hdemucs.errors import TrainingError


@contextmanager
def main_first(processes: PartialState | Accelerator) -> Iterator[None]:
    """Run the `with` block on the main process, then on the others, which wait for as long as it takes.

    accelerate's `main_process_first` waits in the group that exchanges gradients, which gives up after ten
    minutes (NCCL) or thirty (gloo), so that processes that hang do not do so for ever. Scanning a large
    dataset or synthesising songs takes longer.

    Args:
        processes: The processes that train together; the wait is skipped if there is only one.

    Raises:
        TrainingError: On the other processes: the block failed on the main one.
    """
    if processes.num_processes == 1:
        yield
        return
    group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=365))
    succeeded = torch.zeros(1)
    try:
        if processes.is_main_process:
            try:
                yield
                succeeded += 1
            finally:
                torch.distributed.broadcast(succeeded, src=0, group=group)
        else:
            torch.distributed.broadcast(succeeded, src=0, group=group)
            if not succeeded:
                raise TrainingError("the main process of this run has failed; see its message")
            yield
    finally:
        torch.distributed.destroy_process_group(group)
