"""How the process keeps its memory."""

import ctypes
import functools
import sys


@functools.cache
def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next tensor, and in one heap for all threads; once.

    By default each large tensor is mapped anew and its pages are faulted in one by one, which takes as long
    as the network itself.
    """
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(arena_max, 1)
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, (1 << 31) - 1)
