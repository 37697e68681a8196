"""Notifications: what is said, and when; by the real notify-send on a private message bus."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import HeaderFields, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

from rtsep.errors import InputError
from rtsep.live.engine.processes import set_parent_death_signal
from rtsep.live.ui import notifications
from rtsep.live.ui.notifications import GOOD, Notifications
from tests.live import servers

FINE: dict[str, Any] = {"state": "running", "paused": False, "bypass": False, "input": "Mic", "output": "Out"}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(notifications, "notify", found.append)
    monkeypatch.setattr(notifications, "PATIENCE_S", 0.05)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return found


def look(watcher: Notifications, **trouble: Any) -> None:
    """Long enough for it to be said."""
    watcher.look(FINE | trouble)
    time.sleep(0.06)
    watcher.look(FINE | trouble)


def test_lasting_trouble_is_said_once_and_its_end(said: list[str]) -> None:
    watcher = Notifications()
    look(watcher)
    watcher.look(FINE | {"state": "waiting"})  # no longer than a moment
    watcher.look(FINE)
    assert said == []
    for _ in range(3):
        look(watcher, state="waiting")
    look(watcher, paused=True)
    look(watcher, bypass=True)
    look(watcher)
    look(watcher)
    assert len(said) == 4 and "Mic" in said[0] and "slow" in said[1] and "original" in said[2] and said[3] == GOOD


def test_an_error_is_said_once_however_often_the_session_is_started(said: list[str], tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(InputError), Notifications():
            raise InputError("There is no microphone.")
    assert said == ["There is no microphone."]
    with pytest.raises(ValueError), Notifications():
        raise ValueError("not for people")
    look(Notifications())
    assert said[1:] == [GOOD] and list(tmp_path.iterdir()) == []
    with pytest.raises(InputError), Notifications():
        raise InputError("There is no microphone.")
    assert len(said) == 3


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """A private session bus with somebody on it who takes notifications; what they were asked to show."""
    servers.install("dbus", program="dbus-daemon")
    servers.install("libnotify-bin", program="notify-send")
    place = tmp_path / "bus"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={place}")
    words = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={place}"]
    daemon = subprocess.Popen(words, preexec_fn=set_parent_death_signal, stderr=subprocess.DEVNULL)
    while not place.exists():
        time.sleep(0.02)
    shown: list[tuple[Any, ...]] = []
    connection = open_dbus_connection(bus=f"unix:path={place}")
    connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.Notifications"))
    thread = threading.Thread(target=_take, args=(connection, shown), daemon=True)
    thread.start()
    yield shown
    daemon.kill()
    daemon.wait()
    thread.join(10)
    connection.close()


def _take(connection: Any, shown: list[tuple[Any, ...]]) -> None:
    while True:
        try:
            asked = connection.receive()
        except (OSError, EOFError):  # the bus is gone
            return
        member = asked.header.fields.get(HeaderFields.member)
        if member == "GetServerInformation":
            connection.send(new_method_return(asked, "ssss", ("test", "rtsep", "1", "1.2")))
        elif member == "GetCapabilities":
            connection.send(new_method_return(asked, "as", (["body"],)))
        elif member == "Notify":
            shown.append(asked.body)
            connection.send(new_method_return(asked, "u", (1,)))


def test_the_desktop_is_told(desktop: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """By the program, as a service runs it, again and again: here there is no sound server."""
    nowhere = {"PULSE_SERVER": f"unix:{tmp_path}/none", "XDG_RUNTIME_DIR": str(tmp_path)}
    words = [sys.executable, "-m", "rtsep", "denoise", "--virtual-mic", "--follow-default", "--notify"]
    for _ in range(2):
        done = subprocess.run(words, env=os.environ | nowhere, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and "No PipeWire or PulseAudio answers" in done.stderr
    ((application, _, _, title, text, *_),) = desktop
    assert (application, title) == ("rtsep", "rtsep") and "No PipeWire or PulseAudio answers" in text


def test_without_notify_send_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    notifications.notify("Nobody hears this.")
