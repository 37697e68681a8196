"""However a session ends, at whatever moment: nothing is left behind, and what a killed one leaves is cleared away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from servers import PulseServer, pulse_list
from test_jack import wait

from rtsep.live.routing.capture import CAPTURE_SINK, Capture
from rtsep.live.routing.virtual_microphone import SOURCE, VirtualMicrophone

PATIENCE = 120.0


@pytest.fixture(scope="module")
def server() -> Iterator[PulseServer]:
    with PulseServer() as server:
        yield server


@pytest.fixture
def empty(server: PulseServer) -> list[str]:
    """The modules that are there without us."""
    assert wait(lambda: not ours(), 10)
    return pulse_list("modules").splitlines()


def ours() -> list[str]:
    return [line for line in pulse_list("modules").splitlines() if "_name=rtsep" in line]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rtsep", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def virtual_microphone(model: str, *arguments: str) -> subprocess.Popen[str]:
    return start("denoise", "--virtual-mic", "--model", model, "--json", *arguments)


def until_running(process: subprocess.Popen[str]) -> dict:
    assert process.stdout is not None
    for line in process.stdout:
        status = json.loads(line)
        if status.get("state") == "running":
            return status
    raise AssertionError(process.communicate()[1])


def ended(process: subprocess.Popen[str]) -> int:
    """Exit code; nothing is said that only a programmer understands."""
    _, said = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in said, said
    return process.returncode


@pytest.mark.parametrize("number,modules", [(signal.SIGTERM, 1), (signal.SIGINT, 2), (signal.SIGHUP, 3)])
def test_a_signal_while_it_starts(random_model: str, empty: list[str], number: int, modules: int) -> None:
    process = virtual_microphone(random_model)
    while len(ours()) < modules and process.poll() is None:
        pass
    process.send_signal(number)
    assert ended(process) == 0
    assert pulse_list("modules").splitlines() == empty


def test_a_signal_while_a_sink_is_made(empty: list[str]) -> None:
    process = start("karaoke", "--virtual-sink", "--model", "mid-side", "--json")
    while not ours() and process.poll() is None:
        pass
    process.send_signal(signal.SIGHUP)
    assert ended(process) == 0
    assert pulse_list("modules").splitlines() == empty


def test_a_terminal_that_closes_while_it_records(random_model: str, empty: list[str], tmp_path: Path) -> None:
    process = virtual_microphone(random_model, "--record", str(tmp_path))
    assert until_running(process)["recording"]
    assert wait(lambda: any(path.stat().st_size > 10000 for path in tmp_path.iterdir()), PATIENCE)
    process.send_signal(signal.SIGHUP)
    assert ended(process) == 0
    assert pulse_list("modules").splitlines() == empty
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".wav", ".wav"]
    assert all(soundfile.info(path).frames > 1000 for path in tmp_path.iterdir())


def test_a_reader_that_goes_away_ends_the_session(random_model: str, empty: list[str]) -> None:
    process = virtual_microphone(random_model)
    until_running(process)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(PATIENCE) is not None
    assert pulse_list("modules").splitlines() == empty


def test_what_a_killed_session_left_is_removed_by_the_next_one_and_by_doctor(
    random_model: str, empty: list[str]
) -> None:
    for cleared_by in ("doctor", "session"):
        process = virtual_microphone(random_model)
        assert wait(lambda: len(ours()) == 3, PATIENCE)
        process.kill()
        process.communicate()
        assert len(ours()) == 3
        if cleared_by == "doctor":
            done = subprocess.run(
                [sys.executable, "-m", "rtsep", "doctor"], capture_output=True, text=True, timeout=120
            )
            assert "3 modules that a killed session had left were removed" in done.stdout
        else:
            with VirtualMicrophone("mic") as microphone:
                assert microphone.name == SOURCE and len(ours()) == 3
        assert pulse_list("modules").splitlines() == empty


def test_sessions_that_begin_at_once_have_names_of_their_own(empty: list[str]) -> None:
    program = (
        "import sys; from rtsep.live.routing.virtual_microphone import VirtualMicrophone as Made\n"
        "from rtsep.live.routing.capture import Capture\n"
        "if sys.argv[1] == 'sink': Made = lambda _: Capture(virtual_sink=True)\n"
        "input()\n"
        "with Made('mic') as made: print(*sorted(made._made), flush=True); input()\n"
    )
    sessions = [
        subprocess.Popen(
            [sys.executable, "-c", program, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for kind in ("mic", "mic", "mic", "sink", "sink")
    ]
    try:
        for session in sessions:
            assert session.stdin is not None
            session.stdin.write("\n")
        made = [session.stdout.readline().split() for session in sessions if session.stdout is not None]
        names = [name for one in made for name in one]
        assert len(names) == 3 * 3 + 2 and len(set(names)) == len(names)
        there = [line.split("\t")[1] for kind in ("sinks", "sources") for line in pulse_list(kind).splitlines()]
        assert set(names) <= set(there)
    finally:
        for session in sessions:
            session.communicate("\n")
    assert pulse_list("modules").splitlines() == empty


def test_two_sessions_have_names_of_their_own(empty: list[str]) -> None:
    """Two processes, as users have them; the first goes on when the second comes and when it goes."""
    program = (
        "from rtsep.live.routing.virtual_microphone import VirtualMicrophone\n"
        "with VirtualMicrophone('mic') as microphone: print(microphone.name, flush=True); input()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline().strip() == SOURCE
        before = ours()
        with VirtualMicrophone("mic") as second:
            assert second.name == f"{SOURCE}_2" and second.client == "rtsep_2"
            sources = [line.split("\t")[1] for line in pulse_list("sources").splitlines()]
            assert sources.count(SOURCE) == sources.count(f"{SOURCE}_2") == 1
            assert second.description != VirtualMicrophone().description
        assert ours() == before
        with Capture(virtual_sink=True) as capture, Capture(virtual_sink=True) as another:
            assert (capture.made, another.made) == (CAPTURE_SINK, f"{CAPTURE_SINK}_2")
        assert ours() == before
        first.communicate("\n")
    assert pulse_list("modules").splitlines() == empty
