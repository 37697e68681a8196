"""Clients that speak WebSocket by hand, so that they can do what a library would not."""

from __future__ import annotations

import socket
import struct


def upgrade(served, query: str = "", buffer: int | None = None, headers: str = "") -> socket.socket:
    """A socket on which the WebSocket has been agreed upon, and the greeting taken. headers: more of them, as lines."""
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", served.port))
    connection.sendall(
        f"GET /v1/stream?{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n".encode()
    )
    said = b""
    while not said.endswith(b"}"):
        said += connection.recv(4096)
    return connection


def frame(data: bytes, code: int = 2, last: bool = True, reserved: int = 0) -> bytes:
    """A masked frame, as clients send it, with a mask of zeros. reserved: the three bits for extensions."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return bytes([0x80 * last | reserved << 4 | code]) + size + b"\0\0\0\0" + data
