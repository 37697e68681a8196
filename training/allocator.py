"""What the C library does with the memory that a step of training is done with."""

from __future__ import annotations

import ctypes
import os

# Options of `mallopt` in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_memory() -> None:
    """Has glibc keep large blocks for the next step, and the system give them in large pages where it can.

    By itself it gives every block of 32 MB and more back at once, and the kernel clears gigabytes a step for the next
    ones, page by page. Call it before torch makes any tensor. Elsewhere than with glibc nothing changes.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once, at its first tensor of any size
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
