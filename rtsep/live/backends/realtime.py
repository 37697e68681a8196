"""What a process can do so that the system lets it run in time: priority, locked memory, no garbage collection."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
from typing import IO, Any

WORKER_PRIORITY = 60  # below JACK's (70) and PortAudio's callbacks (65): those must never wait for a model
# MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT: pages stay once they were touched. Without the last, every thread's untouched
# stack and every arena would be filled: half a gigabyte a process.
_LOCK_ALL = 7
_DONTNEED = 4  # MADV_DONTNEED


def lock_memory() -> bool:
    """Keep all pages in memory, so that no page fault waits for a disk; False where that is not allowed."""
    if sys.platform != "linux":
        return False
    return ctypes.CDLL(None).mlockall(_LOCK_ALL) == 0


def release_compiler() -> None:
    """Give back the memory that holds LLVM's code, a third of a process: it loads what is compiled, and then rests.

    They are pages of its file as they are there, and come back by themselves if they are ever needed.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as lines:
        begin = end = 0
        for line in lines:
            words = line.split()
            if "-" in words[0]:
                ours = "libllvmlite" in line and "w" not in words[1]
                begin, end = (int(place, 16) for place in words[0].split("-")) if ours else (0, 0)
            elif words[0] == "Private_Dirty:" and words[1] == "0" and end:  # not what the loader has written to
                library.munlock(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin))
                library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED)


def raise_priority() -> bool:
    """SCHED_FIFO for the calling thread where allowed (else a higher nice value where that is); True for FIFO."""
    if sys.platform != "linux":
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(WORKER_PRIORITY))
    except OSError:
        with contextlib.suppress(OSError):
            os.nice(-10)
        return False
    return True


def enable_alsa_realtime(sounddevice: Any, stream: Any) -> None:
    """Let PortAudio run an ALSA stream's callback at real-time priority, where allowed: by itself it does not."""
    with contextlib.suppress(AttributeError, OSError):
        enable = ctypes.CDLL(sounddevice._libname).PaAlsa_EnableRealtimeScheduling
        enable.argtypes, enable.restype = [ctypes.c_void_p, ctypes.c_int], None
        enable(int(sounddevice._ffi.cast("uintptr_t", stream._ptr)), 1)


def stop_garbage_collection() -> None:
    """Collect once and never again: what lives now lives as long as the process, and the loop makes no cycles."""
    gc.collect()
    gc.freeze()
    gc.disable()


def end_with_parent(stdin: IO[bytes]) -> None:
    """End this process, at once and without asking PortAudio, when the parent's end of ``stdin`` closes."""

    def wait() -> None:
        while stdin.read(1):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True, name="parent").start()
