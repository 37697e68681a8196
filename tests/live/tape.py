"""What a live session heard and played, held against what a Stream makes of it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from servers import delay_of, probe

import rtsep
from rtsep.engine.enhance import BACKEND
from rtsep.live.backends.shared_state import FLAG_JOIN, FLAG_LATE
from rtsep.live.engine.live_engine import LiveEngine
from rtsep.live.engine.status import gaps_ms

RING = 1 << 21  # 43 s: nothing of a test is overwritten


class Tape:
    """All that a Live heard and played, and which samples were played in blocks that it calls lost."""

    def __init__(self, live: LiveEngine) -> None:
        block = live.block
        block.state.running = 0
        calls = block.state.callbacks
        assert wait(lambda: block.state.callbacks > calls + 1)  # the one that was running has written everything down
        self.end = block.state.position
        assert self.end < block.length
        self.heard = block.samples_before(block.heard, self.end, self.end)[:, 0]
        self.played = block.samples_before(block.played, self.end, self.end)[:, 0]
        self.delay, self.latency = block.state.delay, block.state.stream_latency
        self.late, self.lost = block.state.late_blocks, block.state.lost_blocks
        calls = block.calls[block.calls["position"] > 0]
        self.blocks = [(int(at - count), int(at), int(flags)) for _, _, count, flags, at in calls]
        self.gaps = gaps_ms(block, len(calls))

    def flagged(self, *flags: int) -> set[int]:
        """Positions at which blocks with all of ``flags`` begin."""
        return {begin for begin, _, found in self.blocks if all(found & flag for flag in flags)}

    def differing(self, wanted: np.ndarray) -> set[int]:
        """Positions of the blocks that were not played as ``wanted`` [samples] says."""
        return {begin for begin, end, _ in self.blocks if not np.array_equal(self.played[begin:end], wanted[begin:end])}


def offline(model: str, tape: Tape, grain: int) -> np.ndarray:
    """What a Stream makes of what was heard, where it has to be played."""
    stream = rtsep.load(model, BACKEND).stream(block_multiple=grain)
    assert stream.latency == tape.latency
    made = stream.process(tape.heard[: len(tape.heard) // grain * grain])
    return np.concatenate([np.zeros(tape.delay, np.float32), made])[: tape.end]


def check_bits(tape: Tape, wanted: np.ndarray) -> None:
    """What is not counted is the result; what is counted is not; and both counters count."""
    lost = tape.flagged(FLAG_LATE) | tape.flagged(FLAG_JOIN)
    assert tape.differing(wanted) <= lost
    dry = np.concatenate([np.zeros(tape.delay + tape.latency, np.float32), tape.heard])
    audible = {begin for begin, end, _ in tape.blocks if dry[begin:end].all()}  # in silence dry and result are alike
    assert tape.flagged(FLAG_LATE) & audible <= tape.differing(wanted)
    assert len(tape.flagged(FLAG_LATE)) == tape.late and len(lost) == tape.lost


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(48000 * seconds))).astype(np.float32)


def carried(live: LiveEngine, sound: np.ndarray, period: int) -> bool:
    """Whether a probe was heard bit for bit, and recorded what was played, bit for bit, one server period later."""
    recording, _ = probe(sound, "rtsep:in_0", "rtsep:out_0")
    end, size = live.block.state.position, len(sound)
    heard, played = (live.block.samples_before(ring, end, end)[:, 0] for ring in (live.block.heard, live.block.played))
    begin = delay_of(sound, heard, end)
    whole = np.array_equal(heard[begin : begin + size], sound)
    return whole and np.array_equal(recording[period:], played[begin : begin + size - period])


def wait(condition: Any, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False
