"""rtsep serve, frame by frame: what RFC 6455 lets a client do, and what the server does not let it do."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest

from rtsep.service.limits import Limits
from tests.service.clients import frame, upgrade
from tests.streams import noise

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FAST = Limits(speed=1000.0, close_s=0.5)


def frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """What the server says, as kind and bytes, until it ends the connection."""
    connection.settimeout(20)
    data = b""

    def more(size: int) -> bool:
        nonlocal data
        while len(data) < size:
            try:
                part = connection.recv(1 << 16)
            except ConnectionError:
                return False
            if not part:
                return False
            data += part
        return True

    while more(2):
        size, head = data[1] & 127, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if not more(head):
                return
            size = int.from_bytes(data[2:head], "big")
        if not more(head + size):
            return
        yield data[0] & 15, data[head : head + size]
        data = data[head + size :]


def goodbye(connection: socket.socket) -> int:
    """The code with which the server ends it, after whatever else it says."""
    for kind, data in frames(connection):
        if kind == CLOSE:
            return int(struct.unpack(">H", data[:2])[0])
    raise AssertionError("It ended without a close frame.")


def gone(served) -> bool:
    """Whether no place is taken, at the latest in a while."""
    end = time.monotonic() + 10
    while served.server.metrics.streams and time.monotonic() < end:
        time.sleep(0.01)
    return served.server.metrics.streams == 0


def test_a_message_in_fragments_is_one_message(serve):
    """With a ping between, which is answered at once."""
    served = serve("plain", FAST)
    x = noise(900, 1)
    data = x.tobytes()
    with upgrade(served, "format=f32le") as connection:
        connection.sendall(frame(data[:1000], BINARY, last=False) + frame(data[1000:1001], CONTINUATION, last=False))
        connection.sendall(frame(b"hello", PING) + frame(data[1001:], CONTINUATION))
        said = frames(connection)
        assert next(said) == (PONG, b"hello")
        kind, answer = next(said)
    expected = served.model.stream().process(x)
    assert kind == BINARY
    np.testing.assert_array_equal(np.frombuffer(answer, np.float32).reshape(-1, 1), expected)


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (frame(b"1234", CONTINUATION), 1002, "protocol"),
        (frame(b"1234", BINARY, last=False) + frame(b"1234", BINARY), 1002, "protocol"),
        (frame(b"1234", BINARY, reserved=4), 1002, "protocol"),
        (frame(b"1234", 3), 1002, "protocol"),
        (frame(b"x" * 126, PING), 1002, "protocol"),
        (bytes([0x82, 4]) + b"1234", 1002, "protocol"),  # without a mask
        (frame(b"\xff\xfe", TEXT), 1007, "protocol"),
        (frame(b"{}", TEXT), 1008, "message"),
        (frame(b"x" * 2001, TEXT), 1008, "message"),
        (frame(b'{"strength": -1}', TEXT), 1008, "message"),
        (frame(b"123"), 1008, "message"),
        (frame(bytes(8002)), 1009, "frame size"),
        ((frame(bytes(4000), last=False) + frame(bytes(4002), CONTINUATION)), 1009, "frame size"),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), 1009, "frame size"),
    ],
)
def test_what_may_not_be_sent_ends_the_connection(serve, sent, code, reason):
    """Also to a client that does not say goodbye."""
    served = serve("plain", Limits(frame_s=0.5, close_s=0.5))
    with upgrade(served, "rate=8000") as connection:  # 0.5 s are 8000 bytes
        connection.sendall(sent)
        assert goodbye(connection) == code
    assert gone(served)
    assert served.server.metrics.refused == {reason: 1}


def test_the_largest_message_is_taken(serve):
    served = serve("plain", Limits(frame_s=0.5))
    with upgrade(served, "rate=8000") as connection:
        connection.sendall(frame(bytes(8000)))
        assert next(frames(connection)) == (BINARY, bytes(8000))


def test_messages_and_commands_that_come_at_once_keep_their_order(serve):
    """All in one packet: nothing is lost, each answered in its turn, each strength from its place on."""
    served = serve("plain", FAST)
    x = noise(4000, 1)
    parts = [x[at : at + 400] for at in range(0, 4000, 400)]
    sent, expected, stream = b"", [], served.model.stream()
    for number, part in enumerate(parts):
        strength = 3.0 * (number % 4)
        sent += frame(json.dumps({"strength": strength}).encode(), TEXT) + frame(part.tobytes())
        stream.strength = strength
        expected.append(stream.process(part))
    expected.append(stream.flush().reshape(-1, 1))
    with upgrade(served, "format=f32le") as connection:
        connection.sendall(sent + frame(b'{"end": true}', TEXT) + frame(bytes(400)))  # the last comes too late
        said = list(frames(connection))
    assert said[-1][0] == CLOSE and [len(answer) for _, answer in said[:10]] == [1600] * 10
    made = np.frombuffer(b"".join(answer for _, answer in said[:-1]), np.float32)
    np.testing.assert_array_equal(made, np.concatenate(expected)[:, 0])


def test_more_than_may_wait_is_left_in_the_network(serve):
    """A client that sends ten seconds at once is held to its pace, and gets every answer."""
    served = serve("plain", Limits(speed=8.0, burst_s=2.0))
    count, began = 100, time.monotonic()
    with upgrade(served, "format=f32le&rate=48000") as connection:
        connection.sendall(frame(bytes(19200)) * count)
        said = frames(connection)
        assert [len(next(said)[1]) for _ in range(count)] == [19200] * count
    assert time.monotonic() - began > 0.7  # (10 s - 2 s) / 8, and what a timer may be early
    assert gone(served)


def test_who_pings_and_reads_nothing_is_cut_off(serve):
    """Answers do not pile up in the server."""
    served = serve("plain", Limits(send_s=1.0, close_s=0.5))
    with upgrade(served, buffer=4096) as connection:
        connection.settimeout(30)
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(frame(b"x" * 125, PING) * 100)
    assert gone(served) and served.server.metrics.refused == {"slow": 1}


def test_who_answers_no_ping_is_cut_off(serve):
    served = serve("plain", Limits(heartbeat_s=0.4))
    with upgrade(served) as connection:
        began = time.monotonic()
        assert (PING, b"") in list(frames(connection))
        assert 0.5 < time.monotonic() - began < 5
    assert gone(served) and served.server.metrics.refused == {"ping": 1}


def test_who_answers_pings_stays(serve):
    served = serve("plain", Limits(heartbeat_s=0.2))
    with upgrade(served) as connection:
        said = frames(connection)
        for _ in range(4):
            assert next(said)[0] == PING
            connection.sendall(frame(b"", PONG))
        assert served.server.metrics.streams == 1 and not served.server.metrics.refused


def test_a_client_says_goodbye(serve):
    served = serve("plain")
    with upgrade(served) as connection:
        connection.sendall(frame(bytes(960)) + frame(struct.pack(">H", 1000), CLOSE))
        assert goodbye(connection) == 1000
    assert gone(served) and not served.server.metrics.refused


@pytest.mark.parametrize("headers", ["Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Key: short\r\n", ""])
def test_a_handshake_that_fails_takes_no_place(serve, headers):
    served = serve("plain", Limits(streams=1))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", served.port), 20) as connection:
            ask = f"GET /v1/stream HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\r\n"
            connection.sendall(ask.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert served.server.metrics.streams == 0
    with upgrade(served) as connection:
        connection.sendall(frame(bytes(960)))
        assert next(frames(connection))[0] == BINARY


def test_what_is_not_there(serve):
    served = serve("plain")
    with socket.create_connection(("127.0.0.1", served.port), 20) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_a_round_that_fails_ends_its_connections_and_no_other(serve, monkeypatch):
    served = serve("plain")
    with upgrade(served) as quiet, upgrade(served) as unlucky:
        rounds = served.server._stepper._rounds
        with monkeypatch.context() as patch:

            def fails(_):
                raise RuntimeError("a fault of the server")

            patch.setattr(rounds, "step", fails)
            unlucky.sendall(frame(bytes(960)))
            assert goodbye(unlucky) == 1011
        quiet.sendall(frame(bytes(960)))
        assert next(frames(quiet)) == (BINARY, bytes(960))


def test_while_it_ends_it_says_so(serve):
    """As long as a client has not said goodbye; then nobody is there any more."""
    served = serve("plain", Limits(close_s=1.0))
    with upgrade(served) as connection:
        served.quit.set()
        assert goodbye(connection) == 1001
        with socket.create_connection(("127.0.0.1", served.port), 20) as watching:
            watching.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            told = b"".join(iter(lambda: watching.recv(4096), b""))
        assert told.startswith(b"HTTP/1.1 503 ") and b"shutting down" in told
        served.end()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", served.port), 20)
