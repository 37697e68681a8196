"""The program itself, live, from outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from servers import jack_server

from rtsep.errors import RtsepError
from rtsep.live.engine.live_engine import LiveSettings
from rtsep.live.session import LiveSession
from rtsep.live.ui.views import JsonView


def rtsep(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rtsep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["denoise", "--live"], "where the sound goes"),
        (["denoise", "--live", "a.wav", "--monitor"], "leave the files out"),
        (["denoise", "--slack", "2", "a.wav"], "--slack is for live sound"),
        (["denoise", "--live", "--output", "x", "--block", "many"], "--block"),
        (["denoise", "--live", "--output", "x", "--model", "mid-side"], "not speech"),
        (["denoise", "--live", "--output", "x", "--input-channels", "both"], "--input-channels"),
        (["denoise", "--input-channels", "2", "a.wav"], "--input-channels is for live sound"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: list[str], words: str) -> None:
    done = rtsep(*arguments)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_live_from_the_command_line(random_model: str, tmp_path: Path) -> None:
    """JSON, a recording, a list of devices, a device that is not there, and a clean end by SIGTERM."""
    with jack_server(128):
        listed = json.loads(rtsep("devices", "--json").stdout)
        assert any(device["name"] == "system" and device["inputs"] == 2 for device in listed)
        findings = json.loads(rtsep("doctor", "--json").stdout)
        assert any(finding["subject"] == "shortest way" and finding["fine"] for finding in findings)
        common = ["denoise", "--live", "--model", random_model, "--output", "system", "--slack", "2", "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "rtsep", *common, "--record", str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = (json.loads(line) for line in process.stdout)
        statuses = (line for line in lines if line.get("state") == "running")
        first = next(statuses)
        # However slow the machine: a block a period, each counted once, sooner or later.
        last = next(status for status in statuses if status["callbacks"] - first["callbacks"] > 200)
        ours = rtsep(*common, "--input", "rtsep")
        assert ours.returncode == 2 and "own output" in ours.stderr
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(90) == 0
        assert last["added_ms"] == 8.0
        assert len(list(tmp_path.glob("*.wav"))) == 2


def test_a_recording_that_fails_ends_and_the_sound_goes_on(random_model: str) -> None:
    class Full:
        """A recorder whose disk is full."""

        summary = "a.wav and b.wav"

        def pull(self) -> None:
            raise RtsepError("a.wav could not be written (No space left on device).")

    class Telling(JsonView):
        def tell(self, sentence: str) -> None:
            told.append(sentence)

    told: list[str] = []
    session = LiveSession(LiveSettings(model=random_model), Telling())
    session._recorder = Full()  # type: ignore[assignment]
    session._pull()
    session._pull()
    assert len(told) == 1 and "The recording ended: a.wav could not be written" in told[0]
    assert session._recorder is None and not session._quit.is_set()


def test_a_session_that_cannot_begin_gives_the_terminal_back(
    random_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closing(JsonView):
        def close(self) -> None:
            closed.append(True)

        def tell(self, sentence: str) -> None:
            told.append(sentence)

    def refuse(*_: object) -> None:
        raise RtsepError("There is no device.")

    closed: list[bool] = []
    told: list[str] = []
    session = LiveSession(LiveSettings(model=random_model), Closing(), greeting="A microphone is there.")
    monkeypatch.setattr(session.engine, "start", refuse)
    with pytest.raises(RtsepError, match="no device"):
        session.run()
    assert closed == [True] and told == []
    monkeypatch.setattr(session.engine, "start", lambda: None)
    session.run(seconds=0.0)
    assert told == ["A microphone is there."]


def test_monitor_fades_in_and_keys_work(random_model: str) -> None:
    settings = LiveSettings(model=random_model, input="system", output="system", muted=True)
    with jack_server(128):
        # The fade takes half a second of sound: a machine that looks too late may look again.
        louds = next((louds for _ in range(3) if (louds := _louds_of_a_monitor(settings))[0] < 0.6), [1.0])
    assert louds[0] < 0.6 and louds[-1] == 1.0 and louds == sorted(louds)


def _louds_of_a_monitor(settings: LiveSettings) -> list[float]:
    """Gains from the first look on, while keys are pressed: bypass, and two steps down."""
    louds: list[float] = []

    class Pressing(JsonView):
        def show(self, status: dict[str, Any]) -> None:
            louds.append(session.engine.block.state.volume)
            if len(louds) == 3:
                for key in ("b", "down", "down"):
                    session.press(key)
            if len(louds) > 12 and louds[-1] == 1.0:
                seen.update(status)
                session.press("q")

    seen: dict[str, Any] = {}
    session = LiveSession(settings, Pressing(), monitor=True)
    session.run(90)  # far more than it takes
    assert session.engine.state == "stopped"
    assert seen["bypass"] and seen["strength"] == 27.0
    return louds
