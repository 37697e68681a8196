"""Two real PortAudio devices by clocks of their own: JACK in, with a server 208 ppm too fast, and PulseAudio out."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
from servers import PulseServer, jack_server, probe
from test_drift import impurity_db
from test_jack import wait

from rtsep.errors import RtsepError
from rtsep.live.backends import shared_state as b
from rtsep.live.live_engine import Live, LiveSettings

JACK_RATE = 48010  # Hz, and so much more than the 48,000 that it passes for
WINDOW_S = 2.0


def test_jack_to_pulseaudio(identity_model: str) -> None:
    """Whole sound, bounded fill, stated delay, known drift, after as much time as callbacks of this machine need."""
    tone = (0.4 * np.sin(2 * np.pi * 1000 / JACK_RATE * np.arange(150 * JACK_RATE))).astype(np.float32)
    with PulseServer(), jack_server(128, JACK_RATE):
        settings = LiveSettings(model=identity_model, input="system", output="pulse", slack=2, ring=1 << 20)
        with Live(settings) as live:
            head = live.block.head
            assert live.device["two"] and live.status()["host"] == "ALSA" and live.status()["rate"] == 48000
            threading.Thread(target=play, args=(tone,), daemon=True).start()
            assert wait(lambda: float(np.abs(live.block.last(live.block.heard, int(head[b.WRITTEN]), 100)).max()) > 0.1)
            tries: list[list[float]] = []  # what was lost in each: none at the first go where callbacks are punctual
            assert any(whole(live, tries) for _ in range(45)), tries
            # On a machine so busy that a clock stands still again and again, it has no rate to be known.
            words = (b.IN_XRUNS, b.XRUNS, b.STARVED, b.SLIPS)
            stood = sum(int(head[word]) for word in words)
            known = wait(lambda: abs(live.status()["clocks"]["drift_ppm"] - 208) < 60, 60)
            assert known or sum(int(head[word]) for word in words) > stood + 5
            # Looked at again if what lies between the clocks grew while we looked.
            targets = [-1, int(head[b.TARGET])]
            while targets[-1] != targets[-2]:
                status = live.status()
                targets.append(int(head[b.TARGET]))
            assert status["state"] == "running"
            # What is stated: stream + slack, and what lies between the clocks.
            bridge = status["clocks"]["target_ms"]
            own = 1000 * (int(head[b.LATENCY]) + 2 * status["block"]) / 48000
            assert abs(status["added_ms"] - own - bridge) < 0.05
            assert bridge <= 1000 * (128 + status["block"] + 16) / 48000 + 30.0


def play(tone: np.ndarray) -> None:
    with contextlib.suppress(RtsepError):  # the server dies with the test
        probe(tone, "rtsep:in_0", "-")


def whole(live: Live, tries: list[list[float]]) -> bool:
    """Whether in the next seconds nothing ran out or slipped; then the tone is pure and the fill within its bounds."""
    block, head = live.block, live.block.head
    words = (b.STARVED, b.SLIPS)
    before, fills = [int(head[word]) for word in words], []
    end = time.monotonic() + WINDOW_S
    while time.monotonic() < end:
        fills.append(float(block.gains[b.FILL]))
        time.sleep(0.01)
    target, span = int(head[b.TARGET]), int(head[b.IN_FRAMES] + head[b.BLOCK])
    assert min(fills) > 0 and max(fills) <= 1.5 * target + span
    sound = block.last(block.heard, int(head[b.WRITTEN]), 1 << 16)[:, 0]
    tries.append([int(head[word]) - then for word, then in zip(words, before, strict=True)] + [impurity_db(sound)])
    return tries[-1][:2] == [0, 0] and tries[-1][2] < -50  # nothing lost: one sample would be -40 dB
