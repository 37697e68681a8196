"""Whatever dies, sound comes back and the parent never hangs."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from servers import JackServer, PulseServer, install, jack_server
from test_jack import RING, wait

from rtsep.live import block as b
from rtsep.live import watchdog
from rtsep.live.duplex import Live, LiveSettings

PATIENCE = 90.0  # seconds: a second or two where the machine has them to spare, and never is what fails
NOTICED_S = 1.0  # what the watchdog may take at the best of a few tries: the machine is shared


def beats(live: Live) -> int:
    return int(live.block.head[b.CALLBACKS])


def seconds_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    assert wait(condition, PATIENCE)
    return time.monotonic() - began


def test_worker_audio_process_and_server_killed(random_model: str) -> None:
    install("jackd2", "libportaudio2", program="jackd")
    with JackServer(128) as server, Live(LiveSettings(model=random_model, slack=2)) as live:
        kill_worker(live)
        assert min(kill_audio(live) for _ in range(2)) < NOTICED_S
        assert min(kill_server(live, server) for _ in range(3)) < NOTICED_S
        another_server(live, server)
        children = [pid for pid in live.processes.values() if pid]
        began = time.monotonic()
        live.stop()
        live.stop()
        assert time.monotonic() - began < PATIENCE
    assert len(children) == 2 and not any(os.path.exists(f"/proc/{pid}") for pid in children)


def kill_worker(live: Live) -> None:
    """The dry signal plays within the slack, until another worker is there; the delay stays."""
    head, worker = live.block.head, live.processes["worker"]
    assert worker
    late = int(head[b.LATE])
    os.kill(worker, signal.SIGKILL)
    # No callback but those that were served before came through without it.
    assert wait(lambda: head[b.LATE] > late + 20)
    assert wait(lambda: live.processes["worker"] not in (worker, None), PATIENCE)
    assert wait(lambda: head[b.EPOCH_READY] == head[b.EPOCH], PATIENCE)
    assert wait(lambda: not head[b.WAS_LATE], PATIENCE)
    assert live.restarts == {"worker": 1, "device": 0}
    assert live.added_samples == 384
    assert any("worker ended" in sentence for _, sentence in live.events)


def kill_audio(live: Live) -> float:
    """It is noticed and opened again. Seconds until it was noticed."""
    audio, before = live.processes["audio"], live.restarts["device"]
    assert audio
    os.kill(audio, signal.SIGKILL)
    noticed = seconds_until(lambda: live.restarts["device"] > before)
    assert wait(lambda: live.state == "running", PATIENCE)
    calls = beats(live)
    assert wait(lambda: beats(live) > calls + 50)
    assert live.restarts == {"worker": 1, "device": before + 1}
    return noticed


def kill_server(live: Live, server: JackServer) -> float:
    """The worst case: PortAudio hangs or aborts. Seconds until it was noticed; then the server comes back."""
    before = live.restarts["device"]
    server.kill()
    noticed = seconds_until(lambda: live.restarts["device"] > before)
    assert live.events[-1][1].endswith("as soon as it is back.")
    server.start()
    assert wait(lambda: live.state == "running", PATIENCE)
    return noticed


def another_server(live: Live, server: JackServer) -> None:
    """When the server is back everything is different: rate and block are followed."""
    before = live.restarts["device"]
    server.kill()
    assert wait(lambda: live.restarts["device"] > before, PATIENCE)
    server.rate, server.period = 44100, 256
    server.start()
    assert wait(lambda: live.state == "running", PATIENCE)
    status = live.status()
    assert (status["rate"], status["block"]) == (44100, 256)
    assert live.added_samples == live.model.stream(44100).latency + 2 * 256
    runs = int(live.block.head[b.RUNS])
    assert wait(lambda: live.block.head[b.RUNS] > runs + 20)


def test_pulseaudio_killed_and_back(random_model: str) -> None:
    """To PortAudio the device is unplugged: ALSA's plugin has errors for every call from then on."""
    with PulseServer() as server, Live(LiveSettings(model=random_model, input="pulse", output="pulse")) as live:
        before = beats(live)
        assert wait(lambda: beats(live) > before + 20)
        server.kill()
        noticed = seconds_until(lambda: live.restarts["device"] == 1)
        server.start()
        assert wait(lambda: live.state == "running", PATIENCE)
        before = beats(live)
        assert wait(lambda: beats(live) > before + 20)
        assert live.status()["input"] == "pulse" and live.events[-1][1] == "pulse to pulse is back."
    assert noticed < 2 * NOTICED_S  # one try only


def test_without_a_worker_the_dry_signal_goes_on_within_the_slack(random_model: str) -> None:
    """Callback for callback: whatever had no result when the worker died is the dry signal, and none is missing."""
    with jack_server(128), Live(LiveSettings(model=random_model, slack=2, ring=RING)) as live:
        block, head, worker = live.block, live.block.head, live.crew.worker
        assert worker is not None
        assert wait(lambda: head[b.WRITTEN] > 48000)
        worker.kill()
        worker.wait()
        done = int(head[b.DONE])  # it will not make more, and the next one starts at the newest sample
        assert wait(lambda: head[b.WRITTEN] > done + 100 * 128)
        calls = block.calls[: min(int(head[b.CALLBACKS]), len(block.calls)) - 1].copy()
    delay = 2 * 128
    after = [(at, flags) for _, _, count, flags, at in calls if at - delay > done and count and at <= done + 60 * 128]
    before = [(at, flags) for _, _, count, flags, at in calls if at and at - delay <= done]
    assert len(after) > 40 and all(flags & b.FLAG_LATE for _, flags in after)
    assert after[0][0] - 128 <= done + delay  # the first of them begins within the slack
    assert np.all(np.diff([at for at, _ in before + after]) == 128)


def test_a_worker_that_never_lives_is_given_up(
    random_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "WORKER_TRIES", 3)
    model = tmp_path / "model.onnx"
    shutil.copy(random_model, model)
    with jack_server(128), Live(LiveSettings(model=str(model), slack=2)) as live:
        worker, head = live.processes["worker"], live.block.head
        assert worker
        live._watchdog._began -= 60  # it had lived long
        model.unlink()
        os.kill(worker, signal.SIGKILL)
        assert wait(lambda: live.bypassed, PATIENCE)
        given_up = [when for when, sentence in live.events if "3 times in a row" in sentence]
        assert len(given_up) == 1 and len(live.events) <= 3
        assert live.restarts["worker"] == 3 and live.processes["worker"] is None
        calls, late = beats(live), int(head[b.LATE])
        assert wait(lambda: beats(live) > calls + 100)
        assert live.state == "running" and head[b.LATE] <= late + 20  # the dry signal is what is wanted now
        shutil.copy(random_model, model)
        live.bypass(False)  # what the key b does
        assert wait(lambda: head[b.EPOCH_READY] == head[b.EPOCH], PATIENCE)
        assert wait(lambda: not head[b.WAS_LATE], PATIENCE)


def test_a_hopeless_machine_falls_back_to_the_dry_signal_at_once(slow_model: str) -> None:
    """A network far too large for a hop: bypassed before a thousand blocks are late, one sentence, no slack."""
    with jack_server(128), Live(LiveSettings(model=slow_model)) as live:
        began, late = time.monotonic(), int(live.block.head[b.LATE])
        assert wait(lambda: live.status()["paused"], PATIENCE)
        took, late = time.monotonic() - began, int(live.block.head[b.LATE]) - late
        assert live.slack == 2 and live.bypassed
        assert [sentence for _, sentence in live.events if "too slow" in sentence] == [live.events[-1][1]]
    assert took < 3 and late < 1000  # 1.5 s where the machine is quiet
