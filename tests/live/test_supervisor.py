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

import rtsep
from rtsep.live.backends.shared_state import FLAG_LATE
from rtsep.live.engine import supervisor
from rtsep.live.engine.governor import WINDOW_S
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing.devices import JACK, silent_s

PATIENCE = 90.0  # seconds: a second or two where the machine has them to spare, and never is what fails
TICK_S = supervisor.TICK_S
SILENT_S = silent_s(JACK, "system")  # after which users' devices are lost
QUICK = 2 * SILENT_S / TICK_S  # ticks that the supervisor may take to notice anything, at the best of a few tries


def beats(live: LiveEngine) -> int:
    return live.block.state.callbacks


def said(live: LiveEngine, words: str) -> int:
    """How many events say so."""
    return sum(words in sentence for _, sentence in live.events)


def ticks_until(condition: Callable[[], bool]) -> float:
    """Ticks of the supervisor, counted in sleeps of ours: where the machine has no time for it, it has none for us."""
    sleeps, end = 0, time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(TICK_S / 4)
        sleeps += 1
    return sleeps / 4


def test_worker_audio_process_and_server_killed(random_model: str, unjudged: None) -> None:
    """With the patience that users have; what the machine loses besides is found again just as well."""
    install("jackd2", "libportaudio2", program="jackd")
    with JackServer(128) as server, LiveEngine(LiveSettings(model=random_model, slack=2)) as live:
        kill_worker(live)
        assert any([kill_audio(live) < QUICK for _ in range(2)])
        assert any(kill_server(live, server) < QUICK for _ in range(4))
        another_server(live, server)
        children = [pid for pid in live.processes.values() if pid]
        began = time.monotonic()
        live.stop()
        live.stop()
        assert time.monotonic() - began < PATIENCE
    assert len(children) == 2 and not any(os.path.exists(f"/proc/{pid}") for pid in children)


def kill_worker(live: LiveEngine) -> None:
    """The dry signal plays within the slack, until another worker is there; the delay stays."""
    block, worker = live.block, live.processes["worker"]
    assert worker
    late = block.state.late_blocks
    os.kill(worker, signal.SIGKILL)
    # No callback but those that were served before came through without it.
    assert wait(lambda: block.state.late_blocks > late + 20)
    assert wait(lambda: live.processes["worker"] not in (worker, None), PATIENCE)
    assert wait(lambda: block.state.ready_epoch == block.state.epoch, PATIENCE)
    assert wait(lambda: not block.state.was_late, PATIENCE)
    assert live.restarts["worker"] >= 1
    assert live.added_samples == 384
    assert any("worker ended" in sentence for _, sentence in live.events)


def kill_audio(live: LiveEngine) -> float:
    """It is noticed and opened again. Ticks until it was noticed."""
    audio, before = live.processes["audio"], live.restarts["device"]
    assert audio
    os.kill(audio, signal.SIGKILL)
    noticed = ticks_until(lambda: live.restarts["device"] > before)
    assert wait(lambda: live.state == "running", PATIENCE)
    calls = beats(live)
    assert wait(lambda: beats(live) > calls + 50)
    assert live.restarts["device"] > before
    return noticed


def kill_server(live: LiveEngine, server: JackServer) -> float:
    """The worst case: PortAudio hangs or aborts. Ticks until it was noticed; then the server comes back."""
    before = live.restarts["device"]
    server.kill()
    noticed = ticks_until(lambda: live.restarts["device"] > before)
    assert wait(lambda: live.events[-1][1].endswith("as soon as it is back."))
    server.start()
    assert wait(lambda: live.state == "running", PATIENCE)
    return noticed


def another_server(live: LiveEngine, server: JackServer) -> None:
    """When the server is back everything is different: rate and block are followed."""
    before = live.restarts["device"]
    server.kill()
    assert wait(lambda: live.restarts["device"] > before, PATIENCE)
    server.rate, server.period = 44100, 256
    server.start()
    assert wait(lambda: live.state == "running", PATIENCE)
    status = live.status()
    assert (status["rate"], status["block"]) == (44100, 256)
    assert live.added_samples == rtsep.load(live.model.path).stream(44100).latency + 2 * 256
    runs = live.block.state.runs
    assert wait(lambda: live.block.state.runs > runs + 20)


def test_pulseaudio_killed_and_back(random_model: str) -> None:
    """To PortAudio the device is unplugged: ALSA's plugin has errors for every call from then on."""
    with PulseServer() as server, LiveEngine(LiveSettings(model=random_model, input="pulse", output="pulse")) as live:
        assert any(kill_pulseaudio(live, server) < QUICK for _ in range(4))


def kill_pulseaudio(live: LiveEngine, server: PulseServer) -> float:
    """Ticks until it was noticed; then it comes back."""
    beaten, before, back = beats(live), live.restarts["device"], said(live, "pulse to pulse is back.")
    assert wait(lambda: beats(live) > beaten + 20)
    server.kill()
    noticed = ticks_until(lambda: live.restarts["device"] > before)
    server.start()
    assert wait(lambda: said(live, "pulse to pulse is back.") > back, PATIENCE)
    beaten = beats(live)
    assert wait(lambda: beats(live) > beaten + 20)
    assert live.status()["input"] == "pulse"
    return noticed


def test_without_a_worker_the_dry_signal_goes_on_within_the_slack(
    random_model: str, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callback for callback: whatever had no result when the worker died is the dry signal, and none is missing."""
    with jack_server(128), LiveEngine(LiveSettings(model=random_model, slack=2, ring=RING)) as live:
        block, worker = live.block, live.children.worker
        assert worker is not None
        assert wait(lambda: block.state.position > 48000)
        monkeypatch.setattr(live.children, "start_worker", lambda *_: None)  # else quick machines have another at once
        worker.kill()
        worker.wait()
        done = block.state.processed  # it will not make more, and the next one starts at the newest sample
        assert wait(lambda: block.state.position > done + 100 * 128)
        calls = block.calls[: min(block.state.callbacks, len(block.calls)) - 1].copy()
    delay = 2 * 128
    after = [(at, flags) for _, _, count, flags, at in calls if at - delay > done and count]
    before = [(at, flags) for _, _, count, flags, at in calls if at and at - delay <= done]
    assert len(after) > 90 and all(flags & FLAG_LATE for _, flags in after)
    assert after[0][0] - 128 <= done + delay  # the first of them begins within the slack
    assert np.all(np.diff([at for at, _ in before + after]) == 128)


def test_a_worker_that_never_lives_is_given_up(
    random_model: str, patient: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "WORKER_TRIES", 3)
    model = tmp_path / "model.onnx"
    shutil.copy(random_model, model)
    with jack_server(128), LiveEngine(LiveSettings(model=str(model), slack=2)) as live:
        block, worker = live.block, live.processes["worker"]
        assert worker
        live._supervisor._worker_began -= 60  # it had lived long
        model.unlink()
        os.kill(worker, signal.SIGKILL)
        assert wait(lambda: said(live, "3 times in a row") == 1, PATIENCE)
        assert live.bypassed and len(live.events) <= 3
        assert live.restarts["worker"] == 3 and live.processes["worker"] is None
        calls, late = beats(live), block.state.late_blocks
        assert wait(lambda: beats(live) > calls + 100)
        assert live.state == "running" and block.state.late_blocks <= late + 20  # the dry signal is what is wanted now
        shutil.copy(random_model, model)
        live.bypass(False)  # what the key b does
        assert wait(lambda: block.state.ready_epoch == block.state.epoch, PATIENCE)
        assert wait(lambda: not block.state.was_late, PATIENCE)


def test_a_hopeless_machine_falls_back_to_the_dry_signal_at_once(slow_model: str) -> None:
    """A network far too large for a hop: bypassed before a thousand blocks are late, one sentence, no slack."""
    assert any(falls_back(slow_model) for _ in range(3))


def falls_back(model: str) -> bool:
    """Whether that happened as soon as it should: after a dozen of the governor's windows, of which it needs three."""
    with jack_server(128), LiveEngine(LiveSettings(model=model)) as live:
        late = live.block.state.late_blocks
        ticks = ticks_until(lambda: said(live, "too slow") > 0)
        late = live.block.state.late_blocks - late
        assert live.slack == 2 and live.bypassed and live.status()["paused"] and said(live, "too slow") == 1
    return ticks < 12 * WINDOW_S / TICK_S and late < 1000
