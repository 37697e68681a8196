"""Fragments: a WebSocket message that came in several frames (RFC 6455, section 5.4)."""

from __future__ import annotations

from picows import WSMsgType


class Fragments:
    """Puts messages together. ``size`` is what lies here, in bytes."""

    def __init__(self) -> None:
        self._kind: WSMsgType | None = None
        self._parts: list[bytes] = []
        self.size = 0

    def whole(self, kind: WSMsgType, data: bytes, last: bool) -> tuple[WSMsgType, bytes] | None:
        """The next frame, of data, in; out comes a message, as its kind and bytes, when that was its last one.

        Raises ValueError when no such frame may come now.
        """
        if (kind == WSMsgType.CONTINUATION) == (self._kind is None):
            raise ValueError(f"A frame of kind {kind.name} in the wrong place.")
        if self._kind is None:
            if last:
                return kind, data
            self._kind = kind
        self._parts.append(data)
        self.size += len(data)
        if not last:
            return None
        made = self._kind, b"".join(self._parts)
        self._kind, self._parts, self.size = None, [], 0
        return made
