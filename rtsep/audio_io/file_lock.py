"""Locks of open files between processes: advisory, and gone with the last descriptor or mapping of who holds one."""

from __future__ import annotations

import sys


def lock(descriptor: int, shared: bool = False) -> bool | None:
    """Whether the open file is locked now, at once: for its holder alone, or ``shared`` with others that hold it so.

    None on Windows, which has no such locks, and does not let an open file be removed anyway.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
