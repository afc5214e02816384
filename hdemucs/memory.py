"""How the process manages its memory."""

import ctypes
import functools
import os
import sys

SWITCH = "HDEMUCS_KEEP_MEMORY"
"""Environment variable; 0 leaves the allocator as it is, for programs whose other parts need the memory."""


@functools.cache
def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next tensor, in one heap for all threads.

    Called before the first inference. By default, glibc maps every large tensor afresh, and the resulting
    page faults take as long as the network itself. This has no effect on other systems, or if the environment
    contains `HDEMUCS_KEEP_MEMORY=0`.
    """
    if sys.platform != "linux" or os.environ.get(SWITCH) == "0":
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Other C libraries, such as musl, do not have it.
    if mallopt is not None:
        mallopt(arena_max, 1)
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, (1 << 31) - 1)
