"""Two real PortAudio devices by clocks of their own: JACK in, with a server 208 ppm too fast, and PulseAudio out."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest
from servers import PulseServer, jack_server, probe
from test_clock_bridge import impurity_db
from test_jack import wait

from rtsep.errors import RtsepError
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings

pytestmark = pytest.mark.usefixtures("patient")

JACK_RATE = 48010  # Hz, and so much more than the 48,000 that it passes for
STRETCH, STRETCHES = 1 << 15, 3  # samples of sound that is looked at, and how often
JOIN = 96  # that may still hold of what was lost before


def test_jack_to_pulseaudio(identity_model: str) -> None:
    """Whole sound but for what is counted, bounded fill, stated delay, known drift."""
    tone = (0.4 * np.sin(2 * np.pi * 1000 / JACK_RATE * np.arange(150 * JACK_RATE))).astype(np.float32)
    with PulseServer(), jack_server(128, JACK_RATE):
        settings = LiveSettings(model=identity_model, input="system", output="pulse", slack=2, ring=1 << 20)
        with LiveEngine(settings) as live:
            block = live.block
            assert live.device["separate_clocks"] and live.status()["host"] == "ALSA" and live.status()["rate"] == 48000
            threading.Thread(target=play, args=(tone,), daemon=True).start()
            assert wait(lambda: loudest(live) > 0.1)
            # Every stretch in which nothing is counted as lost must be whole; on a busy machine they are few.
            found: list[float] = []
            end = time.monotonic() + 100
            while len(found) < STRETCHES and time.monotonic() < end:
                found += found_in(live)
            assert len(found) == STRETCHES
            assert max(found) < -50, found  # one sample lost would be -40 dB
            before = counted(live)
            known = wait(lambda: abs(live.status()["clocks"]["drift_ppm"] - 208) < 60, 60)
            # A clock that stands still again and again, as it does on a machine that is busy enough, has no rate.
            assert known or counted(live) > before + 5, live.status()["clocks"]
            # Looked at again if what lies between the clocks grew while we looked.
            targets = [-1, block.clocks.target]
            while targets[-1] != targets[-2]:
                status = live.status()
                targets.append(block.clocks.target)
            assert status["state"] == "running"
            # What is stated: stream + slack, and what lies between the clocks.
            between = status["clocks"]["target_ms"]
            own = 1000 * (block.state.stream_latency + 2 * status["block"]) / 48000
            assert abs(status["added_ms"] - own - between) < 0.05
            assert between <= 1000 * (128 + status["block"] + 16) / 48000 + 30.0


def play(tone: np.ndarray) -> None:
    with contextlib.suppress(RtsepError):  # the server dies with the test
        probe(tone, "rtsep:in_0", "-")


def loudest(live: LiveEngine) -> float:
    """Of the last samples heard."""
    return float(np.abs(live.block.samples_before(live.block.heard, live.block.state.position, 100)).max())


def counted(live: LiveEngine) -> int:
    """Everything that may have cost a sample so far."""
    clocks = live.block.clocks
    return clocks.xruns + live.block.state.xruns + clocks.underruns + clocks.slips


def found_in(live: LiveEngine) -> list[float]:
    """What is not the tone in the next stretch (dB), if nothing was counted as lost meanwhile."""
    block, before, begin = live.block, counted(live), live.block.state.position
    fills: list[float] = []
    end = time.monotonic() + 20
    while block.state.position < begin + STRETCH + JOIN and time.monotonic() < end:
        fills.append(block.clocks.fill)
        time.sleep(0.01)
    position = block.state.position
    if counted(live) > before or position < begin + STRETCH + JOIN:
        return []
    span = block.clocks.frames + block.state.block
    assert min(fills) > 0 and max(fills) <= 1.5 * block.clocks.target + span
    return [impurity_db(block.samples_before(block.heard, position, STRETCH)[:, 0])]
