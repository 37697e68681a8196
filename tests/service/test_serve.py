"""rtsep serve, over real sockets: the bits of a Stream, and no client that hurts another."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import numpy as np
import pytest
from aiohttp import WSCloseCode, WSMsgType

from rtsep.service.limits import Limits
from tests.program import assert_one_sentence, command, environment, spawn
from tests.service.clients import frame, upgrade
from tests.streams import noise

FAST = Limits(speed=1000.0)
# Without a slow trunk, whose round may begin at another hop in an engine that others use too.
STEADY = str(Path(__file__).parents[1] / "data" / "denoise-small-1.onnx")


async def conversation(url: str, frames: list[bytes], flush: bool = True) -> tuple[dict, list[bytes], int | None]:
    """What a polite client gets: the greeting, an answer a frame and the tail, and the code of the end."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        hello = await ws.receive_json()
        answers = []
        for frame in frames:
            await ws.send_bytes(frame)
            answers.append(await ws.receive_bytes())
        if flush:
            await ws.send_json({"end": True})
            answers.append(await ws.receive_bytes())
            await ws.receive()
        return hello, answers, ws.close_code


def cut(x: np.ndarray, size: int) -> list[np.ndarray]:
    return [x[at : at + size] for at in range(0, len(x), size)]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "strength", "size"),
    [
        ("denoise", None, 1, None, 960),
        ("denoise-small", 16000, 1, 12.0, 320),
        (STEADY, 44100, 2, None, 441),
        ("plain", None, 3, 6.0, 7),
        ("stereo", None, 2, None, 33),
        ("recurrent", None, 1, None, 160),
        ("slow", None, 1, None, 5000),
    ],
)
def test_the_bits_are_those_of_a_stream(serve, name, rate, channels, strength, size):
    served = serve(name)
    x = noise(6000, channels)
    stream = served.model.stream(rate, channels, strength)
    expected = np.concatenate([stream.process(x), stream.flush().reshape(-1, channels)])
    query = f"format=f32le&channels={channels}" + (f"&rate={rate}" if rate else "")
    query += f"&strength={strength}" if strength is not None else ""
    hello, answers, code = asyncio.run(conversation(served.url(query), [part.tobytes() for part in cut(x, size)]))
    assert hello == {
        "model": f"{served.model.spec.name} {served.model.spec.version}",
        "rate": stream.sample_rate,
        "channels": channels,
        "format": "f32le",
        "latency": stream.latency,
    }
    assert [len(answer) for answer in answers[:-1]] == [part.nbytes for part in cut(x, size)]
    np.testing.assert_array_equal(np.frombuffer(b"".join(answers), np.float32).reshape(-1, channels), expected)
    assert np.abs(expected).max() > 1e-3 and code == WSCloseCode.OK


@pytest.mark.parametrize("multiple", [256, 384])
def test_the_end_of_a_stream_whose_blocks_are_promised(serve, multiple):
    served = serve("denoise-small")
    x = noise(3 * multiple, 1)
    stream = served.model.stream(block_multiple=multiple)
    expected = np.concatenate([stream.process(x), stream.flush().reshape(-1, 1)])
    url = served.url(f"format=f32le&block_multiple={multiple}")
    _, answers, code = asyncio.run(conversation(url, [x.tobytes()]))
    np.testing.assert_array_equal(np.frombuffer(b"".join(answers), np.float32).reshape(-1, 1), expected)
    assert code == WSCloseCode.OK


def test_sixteen_bits_are_rounded_and_clipped(serve):
    served = serve("plain")
    x = np.clip(noise(3000, 1, level=2.0) * 32768, -32768, 32767).astype("<i2")
    _, answers, _ = asyncio.run(conversation(served.url(), [part.tobytes() for part in cut(x, 480)], flush=False))
    made = served.model.stream().process(x.astype(np.float32) / 32768)
    expected = np.clip(np.rint(made * 32768), -32768, 32767).astype("<i2")
    np.testing.assert_array_equal(np.frombuffer(b"".join(answers), "<i2").reshape(-1, 1), expected)


def test_strength_can_change_while_the_stream_runs(serve):
    served = serve("plain")
    x = noise(2000, 1)

    async def client() -> bytes:
        async with aiohttp.ClientSession() as session, session.ws_connect(served.url("format=f32le")) as ws:
            await ws.receive_json()
            out = b""
            for begin, strength in ((0, None), (1000, 6.0)):
                await ws.send_json({"strength": strength})
                await ws.send_bytes(x[begin : begin + 1000].tobytes())
                out += await ws.receive_bytes()
            return out

    stream = served.model.stream()
    expected = [stream.process(x[:1000])]
    stream.strength = 6.0
    expected.append(stream.process(x[1000:]))
    made = np.frombuffer(asyncio.run(client()), np.float32).reshape(-1, 1)
    np.testing.assert_array_equal(made, np.concatenate(expected))


def test_many_clients_at_once_have_their_own_sound(serve):
    served = serve(STEADY, Limits(streams=24, speed=1000.0))

    async def all_of_them() -> list[tuple[dict, list[bytes], int | None]]:
        url = served.url("format=f32le")
        return await asyncio.gather(
            *(conversation(url, [part.tobytes() for part in cut(noise(9600, 1, seed=n), 700)]) for n in range(24))
        )

    for number, (_, answers, _) in enumerate(asyncio.run(all_of_them())):
        stream, x = served.model.stream(), noise(9600, 1, seed=number)
        expected = np.concatenate([stream.process(x), stream.flush()[:, None]])
        np.testing.assert_array_equal(np.frombuffer(b"".join(answers), np.float32).reshape(-1, 1), expected)
    assert served.server.metrics.connections == 24


# Clients that misbehave, beside one that must not notice.


def vanishing(served) -> None:
    """In the middle of a frame, without a word: the connection is reset."""
    connection = upgrade(served)
    connection.sendall(frame(bytes(4800)) + frame(bytes(4800))[:1000])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def never_reading(served) -> None:
    """Sends and sends, and takes no answer, until the server has had enough of it."""
    with upgrade(served, "format=f32le", 4096) as connection:
        connection.settimeout(60)
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(frame(bytes(48000)))


def garbage(served) -> None:
    """Every kind of nonsense, on the wire and in frames."""
    draw = np.random.default_rng(0)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(draw.bytes(3000))
    for data in (b"\xff" * 100, frame(b"\x00\x01\x02"), frame(b"{", 1), frame(b"\xff\xfe", 1), frame(b"x" * 60000)):
        with upgrade(served) as connection:
            connection.sendall(data)
            connection.settimeout(20)
            said = b""
            try:
                while part := connection.recv(4096):  # until the server ends it
                    said += part
            except ConnectionError:
                pass
    bad = np.full(480, np.nan, np.float32).tobytes() + np.full(480, np.inf, np.float32).tobytes()
    with upgrade(served, "format=f32le") as connection:
        connection.sendall(frame(bad) * 20)
        time.sleep(0.2)


def test_nobody_hurts_another(serve):
    """While all of that goes on, a polite client gets every sample, and the places are free again afterwards."""
    served = serve(STEADY, Limits(streams=4, speed=1000.0, send_s=1.0, frame_s=0.5, close_s=0.5))
    x = noise(48000 * 4, 1)
    parts = [part.tobytes() for part in cut(x, 960)]

    async def both() -> list[bytes]:
        loop = asyncio.get_running_loop()
        silent = await loop.run_in_executor(None, upgrade, served)
        polite = asyncio.create_task(conversation(served.url("format=f32le"), parts, flush=False))
        await asyncio.sleep(0.1)
        await loop.run_in_executor(None, vanishing, served)
        await loop.run_in_executor(None, never_reading, served)
        await loop.run_in_executor(None, garbage, served)
        _, answers, _ = await polite
        silent.close()
        return answers

    expected = served.model.stream().process(x)
    made = np.frombuffer(b"".join(asyncio.run(both())), np.float32).reshape(-1, 1)
    np.testing.assert_array_equal(made, expected)
    for _ in range(100):
        if served.server.metrics.streams == 0:
            break
        time.sleep(0.1)
    assert served.server.metrics.streams == 0
    refused = served.server.metrics.refused
    assert refused == {"message": 2, "protocol": 2, "slow": 1, "frame size": 1}
    _, answers, _ = asyncio.run(conversation(served.url("format=f32le"), parts[:3], flush=False))
    np.testing.assert_array_equal(np.frombuffer(b"".join(answers), np.float32), expected[: 3 * 960, 0])


def test_a_silent_client_is_sent_away(serve):
    served = serve("plain", Limits(idle_s=0.5))
    _, _, code = asyncio.run(_listen_only(served.url()))
    assert code == WSCloseCode.POLICY_VIOLATION and served.server.metrics.refused["idle"] == 1


async def _listen_only(url: str) -> tuple[dict, str, int | None]:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        hello = await ws.receive_json()
        message = await ws.receive(10)
        return hello, str(message.extra), ws.close_code


def test_a_client_that_sends_too_fast_is_slowed_down(serve):
    """Two seconds at once, then real time times 2: six seconds of sound take two seconds at least."""
    served = serve("plain", Limits(speed=2.0, burst_s=2.0))
    rate = served.model.spec.sample_rate
    frames = [part.tobytes() for part in cut(np.zeros((6 * rate, 1), "<i2"), rate // 4)]
    began = time.monotonic()
    asyncio.run(conversation(served.url(), frames, flush=False))
    assert time.monotonic() - began > 1.7


# Refusals


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("rate=7", "sample_rate is 7"),
        ("rate=fast", "rate is 'fast'"),
        ("channels=9", "channels is 9"),
        ("channels=0", "channels is 0"),
        ("format=mp3", "format is 'mp3'"),
        ("strength=-3", "strength"),
        ("strength=nan", "strength"),
        ("block_multiple=0", "block_multiple"),
        ("gain=3", "no parameter 'gain'"),
    ],
)
def test_wrong_parameters_are_one_sentence(serve, query, what):
    served = serve()
    status, text = asyncio.run(_refused(served.url(query)))
    assert status == 400 and what in text and text.endswith(".") and "\n" not in text


async def _refused(url: str, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(url.replace("ws://", "http://")) as answer,
    ):
        return answer.status, await answer.text()


def test_when_all_streams_are_taken_the_next_is_told_so(serve):
    served = serve("plain", Limits(streams=2))

    async def run() -> tuple[tuple[int, str], tuple[int, str]]:
        async with aiohttp.ClientSession() as session, session.ws_connect(served.url()) as ws:
            await ws.receive_json()
            too_many = await _refused(served.url("channels=2"))
            async with session.ws_connect(served.url()) as second:
                await second.receive_json()
                return too_many, await _refused(served.url())

    for status, text in asyncio.run(run()):
        assert status == 503 and text == "All 2 streams are taken."
    assert served.server.metrics.refused["full"] == 2


def test_without_the_token_there_is_nothing(serve):
    served = serve("plain", FAST, token="a secret")
    for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "a secret"}):
        assert asyncio.run(_refused(served.url(), **headers))[0] == 401
        assert asyncio.run(_refused(served.http("/metrics"), **headers))[0] == 401
    right = {"Authorization": "Bearer a secret"}
    assert asyncio.run(_refused(served.url(), **right))[0] == 426  # it would be a WebSocket
    assert asyncio.run(_refused(served.http("/metrics"), **right))[0] == 200
    assert asyncio.run(_refused(served.http("/healthz")))[0] == 200
    assert served.server.metrics.refused["token"] == 6


def test_pages_in_browsers_are_refused(serve):
    served = serve()
    status, text = asyncio.run(_refused(served.url(), Origin="http://evil.example"))
    assert status == 403 and "not for pages" in text


def test_a_network_without_a_program_is_refused(tmp_path, models):
    from graphs import Network

    path = models(Network(), "flat").path
    done = spawn("serve", "--model", path, "--port", 0)
    assert done.returncode == 2 and b"is not compiled" in done.stderr


# Whoever watches


def test_health_and_metrics(serve):
    served = serve("plain", FAST)
    x = np.zeros(1600, "<i2").tobytes()

    async def run() -> tuple[dict, str]:
        async with aiohttp.ClientSession() as session, session.ws_connect(served.url()) as ws:
            await ws.receive_json()
            await ws.send_bytes(x)
            await ws.receive_bytes()
            async with session.get(served.http("/healthz")) as health, session.get(served.http("/metrics")) as metrics:
                assert health.status == metrics.status == 200
                assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                return await health.json(), await metrics.text()

    health, text = asyncio.run(run())
    assert health["status"] == "ok" and (health["streams"], health["limit"]) == (1, 32)
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["rtsep_streams"] == "1" and values["rtsep_connections_total"] == "1"
    assert float(values["rtsep_hops_total"]) == 1600 // served.model.spec.hop
    assert values["rtsep_reply_seconds_count"] == values['rtsep_reply_seconds_bucket{le="+Inf"}'] == "1"
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ", "rtsep_"))


# The program


def test_the_program_ends_in_order_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    line = command("serve", "--model", "denoise-small", "--port", "0", "--token-file", "token")
    with subprocess.Popen(line, **options) as program:
        assert program.stderr is not None
        lines = iter(program.stderr.readline, "")  # the first may say that code is compiled
        address = next(word for line in lines for word in line.split() if word.startswith("ws://127.0.0.1:"))
        here = SimpleNamespace(port=int(address.rsplit(":", 1)[1].split("/")[0]))
        with upgrade(here, headers="Authorization: Bearer secret\r\n") as garbage:  # which is nothing to print
            garbage.sendall(b"\xff" * 100)
            assert garbage.recv(4096)

        async def client() -> tuple[int, list[int | None]]:
            headers = {"Authorization": "Bearer secret"}
            async with aiohttp.ClientSession(headers=headers) as session:
                sockets = [await session.ws_connect(address) for _ in range(3)]
                for ws in sockets:
                    await ws.receive_json()
                    await ws.send_bytes(bytes(9600))
                program.terminate()
                answers = 0
                for ws in sockets:
                    async for message in ws:
                        answers += message.type == WSMsgType.BINARY
                return answers, [ws.close_code for ws in sockets]

        answers, codes = asyncio.run(client())
        assert program.wait(60) == 0
        assert program.stderr.read() == ""
    assert codes == [WSCloseCode.GOING_AWAY] * 3 and answers == 3


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = spawn("serve", "--model", "denoise-small", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert_one_sentence(done, "--port")


def test_a_token_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, what in (("missing", "cannot be read"), ("empty", "is empty")):
        done = spawn("serve", "--token-file", tmp_path / name)
        assert done.returncode == 2
        assert_one_sentence(done, what)


def test_without_the_extra_there_is_one_sentence() -> None:
    import sys

    code = "import sys; sys.modules['picows'] = None; sys.argv = ['rtsep', 'serve']; "
    code += "from rtsep.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "pip install picows" in done.stderr
