"""Workers: threads, and processes that are started afresh, deaf to Ctrl-C and cleaned up by their parent.

Nothing here forks: a child that is forked after torch has computed in threads hangs at its first computation,
waiting for threads that only its parent has.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from hdemucs.errors import WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def worker_pool(
    jobs: int,
    *,
    remedy: str = "use fewer jobs",
    torch_threads: int | None = None,
    finish_tasks: bool = True,
) -> Iterator[ProcessPoolExecutor]:
    """Pool of worker processes, spawned rather than forked: torch's threads do not survive a fork.

    Leaving the `with` block cancels tasks that have not started and waits for those that have.

    Args:
        jobs: Number of processes, at least 1.
        remedy: End of the error message if a worker is killed.
        torch_threads: Number of threads that torch may use in each worker; None does not import torch.
        finish_tasks: Whether Ctrl-C lets workers finish the tasks that have started, rather than end at once.

    Raises:
        WorkerError: A worker was killed from outside.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, start_worker, initargs=(torch_threads, finish_tasks))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise WorkerError(f"a worker process was killed, probably for lack of memory; {remedy}") from error
    finally:
        pool.shutdown(cancel_futures=True)


def as_done(
    function: Callable[[Task], Result], tasks: Iterable[Task], pool: ProcessPoolExecutor | None
) -> Iterator[tuple[int, Result]]:
    """Call `function` on every task, and yield results as they are completed.

    Args:
        function: Function to call; picklable if there is a pool.
        tasks: Arguments, one for each call.
        pool: Workers to call it in; None calls it in this process, one task after another.

    Yields:
        Index of the task and its result, in order of completion.
    """
    if pool is None:
        yield from ((index, function(task)) for index, task in enumerate(tasks))
        return
    futures = {pool.submit(function, task): index for index, task in enumerate(tasks)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def start_worker(torch_threads: int | None = None, finish_tasks: bool = True) -> None:
    """Prepare a worker: Ctrl-C reaches it too, but only its parent decides what to do then.

    Args:
        torch_threads: Number of threads that torch may use; None does not import torch.
        finish_tasks: Whether to ignore Ctrl-C, rather than end without a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN if finish_tasks else signal.SIG_DFL)
    if torch_threads is not None:
        import torch

        torch.set_num_threads(torch_threads)


@contextmanager
def thread_pool(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Pool of threads that share torch's own threads between them.

    Meanwhile, the calling thread makes do with the same share: threads of its own would take the cores from
    those of the pool.

    Args:
        jobs: Number of threads, at least 1.
    """
    import torch

    threads = torch.get_num_threads()
    share = max(1, threads // jobs)
    torch.set_num_threads(share)
    try:
        with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
