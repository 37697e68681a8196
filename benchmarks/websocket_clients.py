"""Many WebSocket clients in one thread, as cheap as they can be: raw sockets, and frames that are made beforehand.

They share a machine with the server that they measure, and what they take is not the server's. One program that speaks
for a hundred clients has a queue of its own: an answer lies there until its turn comes. So an answer counts from the
moment at which the kernel had it for its client (the time stamp of a packet, on Linux), and how long it lay there until
it was read is told beside. RFC 6455, "The WebSocket Protocol", section 5: frames of clients are masked; by a mask of
zeros, the bytes stay what they are.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from rtsep.errors import RtsepError

_TEXT, _BINARY, _CLOSE, _PING = 1, 2, 8, 9
_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
_PATIENCE_S = 10.0
_MOST = 1 << 18  # bytes at once
_TIMESTAMPNS = 35  # Linux, <asm-generic/socket.h>: SO_TIMESTAMPNS, SO_TIMESTAMPNS_OLD of 64-bit systems
_TIMESPEC = struct.Struct("@qq")  # s and ns since 1970


def stamped(connection: socket.socket) -> bool:
    """Let the kernel note when what is received had come; whether it can."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
    except OSError:
        return False
    return sys.platform == "linux" and sys.maxsize > 2**32


def received(connection: socket.socket) -> tuple[bytes, float, float]:
    """What has come, when the kernel had it (of several packets at once, the last), and now; in s since 1970.

    Raises BlockingIOError when there is nothing.
    """
    if not hasattr(connection, "recvmsg"):
        return connection.recv(_MOST), time.time(), time.time()
    data, beside, _, _ = connection.recvmsg(_MOST, socket.CMSG_SPACE(_TIMESPEC.size))
    now = time.time()
    for level, kind, stamp in beside:
        if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            return data, seconds + nanoseconds * 1e-9, now
    return data, now, now


def masked(data: bytes, code: int = _BINARY) -> bytes:
    """A client's frame."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return bytes([0x80 | code]) + size + b"\0\0\0\0" + data


class Delay(NamedTuple):
    """Of one answer: the number of its frame, s from its way out to the answer's way in, and s until that was read."""

    number: int
    seconds: float
    unread: float


class Client:
    """One connection. ``answered`` is how many binary messages have come."""

    def __init__(self, url: str) -> None:
        """Connected, and greeted by the server. Raises RtsepError when it is not."""
        where = urlsplit(url)
        self.socket = socket.create_connection((where.hostname, where.port or 80), _PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(
            f"GET {where.path}?{where.query} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n".encode()
        )
        self.sent: list[float] = []
        self.answered = 0
        said = b""
        while b"\r\n\r\n" not in said:
            part = self.socket.recv(4096)
            if not part:
                break
            said += part
        if b" 101 " not in said.partition(b"\r\n")[0]:
            raise RtsepError(f"The server refused a client: {said.splitlines()[0].decode() if said else 'no answer'}.")
        self._rest, self._greeted = b"", False
        self._read(said.partition(b"\r\n\r\n")[2] or self.socket.recv(4096))
        while not self._greeted:
            self._read(self.socket.recv(4096))
        stamped(self.socket)
        self.socket.setblocking(False)

    def send(self, frame: bytes) -> None:
        """Raises RtsepError when the server takes no more."""
        self.sent.append(time.time())
        try:
            if self.socket.send(frame) < len(frame):
                raise BlockingIOError
        except OSError as error:
            raise RtsepError(f"The server takes no more sound ({error}); use fewer connections.") from None

    def receive(self, delays: list[Delay]) -> None:
        """Whatever has come."""
        before = self.answered
        try:
            data, came, now = received(self.socket)
        except BlockingIOError:
            return
        self._read(data)
        delays.extend(Delay(number, came - self.sent[number], now - came) for number in range(before, self.answered))

    def _read(self, data: bytes) -> None:
        if not data:
            raise RtsepError("The server ended a connection.")
        data = self._rest + data if self._rest else data
        at = 0
        while len(data) - at >= 2:
            code, size, head = data[at] & 15, data[at + 1] & 127, 2
            if size >= 126:
                wide = 2 if size == 126 else 8
                head = 2 + wide
                if len(data) - at < head:
                    break
                size = int.from_bytes(data[at + 2 : at + head], "big")
            if len(data) - at < head + size:
                break
            if code == _BINARY:
                self.answered += 1
            elif code == _TEXT:
                self._greeted = True
            elif code == _PING:
                self.socket.send(masked(data[at + head : at + head + size], 10))
            elif code == _CLOSE:
                raise RtsepError(f"The server ended a connection: {data[at + head + 2 : at + head + size].decode()}")
            at += head + size
        self._rest = data[at:]


def converse(
    url: str, frames: Sequence[bytes], offsets: Sequence[float], period: float, settle: int
) -> tuple[list[Delay], float]:
    """As many clients as ``offsets`` send all frames, one every ``period`` s, each so many seconds after the first.

    Returns all answers but the first ``settle`` of each client, and the CPU time in s that the clients took. Raises
    RtsepError when the server refuses a client, ends a connection, or answers too late.
    """
    made = [masked(frame) for frame in frames]
    clients = [Client(url) for _ in offsets]
    delays: list[Delay] = []
    try:
        with selectors.DefaultSelector() as ready:
            for client in clients:
                ready.register(client.socket, selectors.EVENT_READ, client)
            order = sorted(range(len(clients)), key=lambda index: offsets[index])
            begin, used = time.perf_counter() + 0.2, time.process_time()
            turns = ((number, index) for number in range(len(made)) for index in order)
            for number, index in turns:
                due = begin + number * period + offsets[index]
                while (wait := due - time.perf_counter()) > 0:
                    for key, _ in ready.select(wait):
                        key.data.receive(delays)
                clients[index].send(made[number])
            end = time.perf_counter() + _PATIENCE_S
            while any(client.answered < len(made) for client in clients):
                for key, _ in ready.select(0.1):
                    key.data.receive(delays)
                if time.perf_counter() > end:
                    raise RtsepError("The server does not answer all that it was sent; use fewer connections.")
            used = time.process_time() - used
    finally:
        for client in clients:
            client.socket.close()
    return [delay for delay in delays if delay.number >= settle], used
