"""Single keys from a terminal, without waiting and without Enter."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import Any

UP, DOWN = "up", "down"


class Keys:
    """``with Keys() as keys: keys.pressed()``; says nothing when standard input is no terminal."""

    def __enter__(self) -> Keys:
        self._restore: Any = None
        self._there = sys.stdin is not None and sys.stdin.isatty()
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
        """The keys since the last call, lower case; arrows are ``up`` and ``down``."""
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
    """Characters and arrow sequences as names of keys."""
    for sequence, key in (("\x1b[A", UP), ("\x1b[B", DOWN)):
        text = text.replace(sequence, {UP: "+", DOWN: "-"}[key])
    for character in text:
        if character in "+-" or character.isalpha():
            yield {"+": UP, "-": DOWN}.get(character, character.lower())
