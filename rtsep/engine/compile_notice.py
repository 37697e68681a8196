"""Says, once, that code is being compiled: it is kept, so that happens only in the first run after an installation.

Programs say by ``tell_by`` how; a library that is imported says nothing.
"""

from __future__ import annotations

from collections.abc import Callable

COMPILING = "rtsep compiles its code for this processor, once; that takes about 20 s."
_tell: Callable[[str], None] | None = None


def tell_by(tell: Callable[[str], None] | None) -> None:
    """``tell`` gets the sentence when, and if, this process begins to compile; None is nobody."""
    global _tell
    _tell = tell


def tell_also_by(tell: Callable[[str], None]) -> None:
    """``tell`` gets it too, beside who was named before."""
    before = _tell

    def both(sentence: str) -> None:
        if before is not None:
            before(sentence)
        tell(sentence)

    tell_by(both)


def compiling() -> None:
    """Called when compiling begins, and by who hears that another process has begun; tells the first time only."""
    global _tell
    tell, _tell = _tell, None
    if tell is not None:
        tell(COMPILING)
