"""Text that may be shown on a terminal, whatever names and tags hold."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with control characters, and bytes that are no text, spelled out: no name commands a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)
