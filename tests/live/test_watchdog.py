"""Whatever dies, sound comes back and the parent never hangs."""

from __future__ import annotations

import os
import signal
import time

from servers import JackServer, install, jack_server
from test_jack import wait

from rtsep.live import block as b
from rtsep.live.duplex import Live, LiveSettings


def beats(live: Live) -> int:
    return int(live.block.head[b.CALLBACKS])


def test_worker_killed_the_dry_signal_plays_until_it_is_back(random_model: str) -> None:
    with jack_server(128), Live(LiveSettings(model=random_model, slack=2)) as live:
        head, worker = live.block.head, live.processes["worker"]
        assert worker
        calls, late = beats(live), int(head[b.LATE])
        os.kill(worker, signal.SIGKILL)
        # Within its slack: no callback but the two that were already served came through without it.
        assert wait(lambda: head[b.LATE] > late + 20)
        assert beats(live) - calls - (int(head[b.LATE]) - late) < 200
        assert wait(lambda: head[b.EPOCH_READY] == head[b.EPOCH] and live.processes["worker"] != worker)
        assert wait(lambda: not head[b.WAS_LATE])
        assert live.restarts == {"worker": 1, "device": 0}
        assert live.added_samples == 384
        assert any("worker ended" in sentence for _, sentence in live.events)


def test_audio_process_killed_it_is_opened_again(random_model: str) -> None:
    with jack_server(128), Live(LiveSettings(model=random_model, slack=2)) as live:
        audio = live.processes["audio"]
        assert audio
        began = time.monotonic()
        os.kill(audio, signal.SIGKILL)
        assert wait(lambda: live.state == "waiting")
        assert time.monotonic() - began < 3.0
        assert wait(lambda: live.state == "running", 20)
        calls = beats(live)
        assert wait(lambda: beats(live) > calls + 50)
        assert live.restarts == {"worker": 0, "device": 1}


def test_server_killed_and_back_at_another_rate(random_model: str) -> None:
    """The worst case: PortAudio hangs or aborts, and then everything is different."""
    install("jackd2", "libportaudio2", program="jackd")
    with JackServer(128) as server, Live(LiveSettings(model=random_model, slack=2)) as live:
        began = time.monotonic()
        server.kill()
        assert wait(lambda: live.state == "waiting")
        noticed = time.monotonic() - began
        server.rate, server.period = 44100, 256
        server.start()
        assert wait(lambda: live.state == "running", 20)
        status = live.status()
        assert (status["rate"], status["block"]) == (44100, 256)
        stream = live.model.stream(44100)
        assert live.added_samples == stream.latency + 2 * 256
        assert wait(lambda: live.block.head[b.RUNS] > 20)
        children = [pid for pid in live.processes.values() if pid]
        began = time.monotonic()
        live.stop()
        live.stop()
        assert time.monotonic() - began < 8.0
    assert len(children) == 2 and not any(os.path.exists(f"/proc/{pid}") for pid in children)
    assert noticed < 3.0
