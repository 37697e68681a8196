"""Single keys from a terminal, without waiting and without Enter."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
from collections.abc import Iterator
from typing import Any

UP, DOWN, LEFT, RIGHT = "up", "down", "left", "right"
_ARROWS = {"A": UP, "B": DOWN, "C": RIGHT, "D": LEFT}


class Keys:
    """``with Keys() as keys: keys.pressed()``; says nothing when standard input is no terminal."""

    def __init__(self, wanted: bool = True) -> None:
        """wanted: False listens to none."""
        self._wanted = wanted

    def __enter__(self) -> Keys:
        self._restore: Any = None
        self._there = self._wanted and sys.stdin is not None and sys.stdin.isatty()
        if self._there and os.name == "posix":
            import termios
            import tty

            self._restore = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        if self._restore is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._restore)

    def pressed(self) -> Iterator[str]:
        """The keys since the last call, lower case; arrows are ``up``, ``down``, ``left`` and ``right``."""
        if not self._there:
            return
        if os.name != "posix":  # Windows; written, not run here
            import msvcrt

            while msvcrt.kbhit():  # type: ignore[attr-defined,unused-ignore]
                yield msvcrt.getwch().lower()  # type: ignore[attr-defined,unused-ignore]
            return
        text = ""
        with contextlib.suppress(OSError):
            while select.select([sys.stdin], [], [], 0)[0]:
                more = os.read(sys.stdin.fileno(), 64)
                if not more:
                    break
                text += more.decode(errors="ignore")
        yield from parse(text)


def parse(text: str) -> Iterator[str]:
    """Characters (no digits) and arrow sequences as names of keys; + and - are ``up`` and ``down`` too."""
    for sequence, character in re.findall(r"\x1b[\[O]([0-9;]*[A-Za-z~])|([^\x1b])", text):
        if sequence in _ARROWS:
            yield _ARROWS[sequence]
        elif character.isprintable() and character and not character.isdigit():
            yield {"+": UP, "-": DOWN}.get(character, character.lower())
