"""JACK's names as text: UTF-8, and whatever bytes somebody's client calls itself by, there and back."""

from __future__ import annotations


def to_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def to_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
