"""Who may talk to the panel, and what it makes of what they say."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rtsep.engine import compile_notice
from rtsep.errors import InputError
from rtsep.panel.commands import call, command
from rtsep.panel.server import STATIC, TABS, Panel, run
from tests import program
from tests.program import assert_one_sentence, environment, spawn


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    panel, quit, there = Panel(), threading.Event(), threading.Event()
    found: list[str] = []

    def ready(where: str) -> None:
        found.append(where)
        there.set()

    thread = threading.Thread(target=lambda: asyncio.run(run(panel, "127.0.0.1", 0, quit, ready)), daemon=True)
    thread.start()
    assert there.wait(60)
    yield found[0]
    quit.set()
    thread.join(60)
    assert not thread.is_alive()


def answer(address: str, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(address, headers={key.capitalize(): value for key, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_only_those_who_know_the_token_see_anything(address: str) -> None:
    token = address.rstrip("/").rpartition("/")[2]
    assert len(token) >= 32
    status, headers = answer(address)
    assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
    for wrong in ("", "x" * len(token) + "/", token[:-1] + "/", "panel.css", f"{token}/../{token}/"):
        assert answer(address.replace(f"{token}/", wrong))[0] in (403, 404), wrong
    for file in STATIC.iterdir():
        if file.suffix != ".html":
            assert answer(address + file.name)[0] == 200, file
            assert answer(address.replace(token, "0" * len(token)) + file.name)[0] == 404
    assert answer(address + "..%2Fserver.py")[0] == 404


def test_other_sites_are_refused(address: str) -> None:
    assert answer(address, origin="http://evil.example")[0] == 403
    assert answer(address, host="evil.example")[0] == 403, "a name that was pointed at this machine"
    assert answer(address, host="localhost:1")[0] == 200


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_sockets_of_other_pages_are_refused(address: str, origin: str | None) -> None:
    async def connect() -> int:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(f"{address}socket", headers={"Origin": origin} if origin else {}):
                    return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status

    assert asyncio.run(connect()) == 403


def test_what_is_no_command_is_refused_and_nothing_ends(address: str) -> None:
    said = [
        "",
        "[]",
        *map(
            json.dumps,
            (
                {"tab": "microphone", "do": "explode", "values": {}},
                {"tab": "nowhere", "do": "bypass", "values": {"on": True}},
                {"tab": "microphone", "do": "close", "values": {}},
                {"tab": "microphone", "do": "bypass", "values": {"on": 1}},
                {"tab": "microphone", "do": "choose", "values": {"values": {"x": 1}}},
                {"tab": "microphone", "do": "choose", "values": {"values": {"slack": "many"}}},
                {"tab": "microphone", "do": "choose", "values": {"values": {"slack": 99}}},
                {"tab": "microphone", "do": "choose", "values": {"values": {"model": "karaoke"}}},
                {"tab": "microphone", "do": "load_preset", "values": {"name": "../x"}},
                {"tab": "microphone", "do": "bypass", "values": {"on": True}, "number": "1"},
            ),
        ),
    ]

    async def talk() -> list[str]:
        origin = "/".join(address.split("/")[:3])
        headers, refusals = {"Origin": origin}, []
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{address}socket", headers=headers) as page,
        ):
            for text in said:
                await page.send_str(text)
                while "refused" not in (message := await page.receive_json(timeout=30)):
                    pass
                refusals.append(message["refused"])
        return refusals

    refusals = asyncio.run(talk())
    assert len(refusals) == len(said) and all(text.endswith(".") for text in refusals)
    assert refusals[4] == refusals[2] == "This is no command of the panel."
    assert "'x'" in refusals[6] and "from 0 to 16" in refusals[8] and "not speech" in refusals[9]


def test_a_state_says_which_commands_it_holds(address: str) -> None:
    """Also a command that changes nothing, and one that is refused."""

    async def talk() -> None:
        headers = {"Origin": "/".join(address.split("/")[:3])}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{address}socket", headers=headers) as page,
        ):
            for number, (decibels, said) in enumerate(((-3.0, -3.0), (-3.0, -3.0), (9.0, -3.0), (-5.0, -5.0)), 1):
                command = {"tab": "karaoke", "do": "set_vocals", "values": {"decibels": decibels}, "number": number}
                vocals = []
                await page.send_str(json.dumps(command))
                while (message := await page.receive_json(timeout=30)).get("heard", 0) < number:
                    vocals.append(message.get("karaoke", {}).get("vocals", said))
                assert message["heard"] == number
                vocals.append(message["karaoke"].get("vocals", said))
                assert vocals[-1] == said, (number, vocals)

    asyncio.run(talk())


class Lamp:
    """Has one command of each type of values."""

    done: tuple[Any, ...] = ()

    @command
    def set(self, on: bool, level: float, count: int, names: list[str], place: str | None) -> None:
        self.done = (on, level, count, names, place)

    def explode(self) -> None:
        raise AssertionError("no command")


def test_commands_are_typed() -> None:
    lamp, values = Lamp(), {"on": True, "level": 2, "count": 3, "names": ["a"], "place": None}
    call(lamp, "set", values)
    assert lamp.done == (True, 2, 3, ["a"], None)
    wrong: list[tuple[object, object]] = [("explode", {}), (None, {}), ("__init__", {}), ("set", None), ("set", {})]
    for key, value in (("on", 1), ("level", True), ("level", float("nan")), ("count", 1.0), ("count", False)):
        wrong.append(("set", values | {key: value}))
    wrong += [("set", values | {"names": ["a", 1]}), ("set", values | {"place": 1}), ("set", values | {"more": 1})]
    for name, given in wrong:
        with pytest.raises(InputError):
            call(lamp, name, given)


def test_nothing_comes_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text and "eval(" not in text and "innerHTML" not in text, file


def test_compiling_is_said_on_the_page_too() -> None:
    """The first start takes half a minute; whichever tab is open says why, beside the terminal."""
    said: list[str] = []
    compile_notice.tell_by(said.append)
    panel = Panel()
    try:
        compile_notice.compiling()
        assert said == [compile_notice.COMPILING]
        for name in TABS:
            told = panel.tabs.by_name()[name].state()["told"]
            assert [one["sentence"] for one in told] == [compile_notice.COMPILING]
    finally:
        panel.close()
        compile_notice.tell_by(None)


def test_the_program_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen(program.command("panel", "--no-browser"), **options) as panel:
        assert panel.stderr is not None
        said = panel.stderr.readline()
        address = next(word for word in said.split() if word.startswith("http://127.0.0.1:"))
        assert answer(address)[0] == 200
        panel.send_signal(signal.SIGTERM)
        assert panel.wait(60) == 0
        assert panel.stderr.read() == ""


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = spawn("panel", "--no-browser", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert_one_sentence(done, "--port")


def test_without_the_extra_there_is_one_sentence() -> None:
    code = "import sys; sys.modules['aiohttp'] = None; sys.argv = ['rtsep', 'panel']; "
    code += "from rtsep.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "pip install aiohttp" in done.stderr
