"""Whatever dies, sound comes back and the parent never hangs."""

from __future__ import annotations

import os
import signal
import time

from servers import JackServer, install
from test_jack import wait

from rtsep.live import block as b
from rtsep.live.duplex import Live, LiveSettings

PATIENCE = 60.0  # seconds: a second or two where the machine has them to spare, and never is what fails


def beats(live: Live) -> int:
    return int(live.block.head[b.CALLBACKS])


def test_worker_audio_process_and_server_killed(random_model: str) -> None:
    install("jackd2", "libportaudio2", program="jackd")
    with JackServer(128) as server, Live(LiveSettings(model=random_model, slack=2)) as live:
        kill_worker(live)
        kill_audio(live)
        kill_server(live, server)
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
    calls, late = beats(live), int(head[b.LATE])
    os.kill(worker, signal.SIGKILL)
    # No callback but those that were served before came through without it.
    assert wait(lambda: head[b.LATE] > late + 20)
    assert beats(live) - calls - (int(head[b.LATE]) - late) < 200
    assert wait(lambda: live.processes["worker"] != worker and head[b.EPOCH_READY] == head[b.EPOCH], PATIENCE)
    assert wait(lambda: not head[b.WAS_LATE], PATIENCE)
    assert live.restarts == {"worker": 1, "device": 0}
    assert live.added_samples == 384
    assert any("worker ended" in sentence for _, sentence in live.events)


def kill_audio(live: Live) -> None:
    """It is noticed and opened again."""
    audio = live.processes["audio"]
    assert audio
    os.kill(audio, signal.SIGKILL)
    assert wait(lambda: live.state == "waiting", PATIENCE)
    assert wait(lambda: live.state == "running", PATIENCE)
    calls = beats(live)
    assert wait(lambda: beats(live) > calls + 50)
    assert live.restarts == {"worker": 1, "device": 1}


def kill_server(live: Live, server: JackServer) -> None:
    """The worst case: PortAudio hangs or aborts, and when the server is back everything is different."""
    server.kill()
    assert wait(lambda: live.state == "waiting", PATIENCE)
    server.rate, server.period = 44100, 256
    server.start()
    assert wait(lambda: live.state == "running", PATIENCE)
    status = live.status()
    assert (status["rate"], status["block"]) == (44100, 256)
    assert live.added_samples == live.model.stream(44100).latency + 2 * 256
    runs = int(live.block.head[b.RUNS])
    assert wait(lambda: live.block.head[b.RUNS] > runs + 20)
