"""Gate: turns a stream's output down while the model hears nobody.

A model that puts out ``activity`` says after every hop how probable it is that its target was active in the newest
one. The gate opens at ``open``, closes ``hold`` seconds after the last hop that reached 0.6 of that, and moves without
a click. What a Stream puts out is its latency older than what it has just heard, and the gate opens within less than
that: the sound of the hop that opened it comes out at full level. Where the model notices a word late, ``lookback``
holds the sound back for so long; that is latency, and counted as such.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.enhance import Enhancer
from rtsep.engine.gate_settings import GateSettings, check_gate
from rtsep.engine.stream import Stream
from rtsep.engine.stream_words import (
    GATE_AT,
    GATE_BACK,
    GATE_DOWN,
    GATE_FLOOR,
    GATE_GAIN,
    GATE_OPEN,
    GATE_UP,
    GATE_WORDS,
    turn_down,
)
from rtsep.errors import InputError
from rtsep.model import Model

ATTACK_S = 0.0025  # below a hop of the shipped models
RELEASE_S = 0.15
_STAYS = 0.6  # of ``open``: less than that lets the gate close


class Gated:
    """A Stream behind a gate; used like one. What it puts out does not depend on how the input is cut into blocks."""

    def __init__(self, stream: Stream, settings: GateSettings) -> None:
        """Raises InputError when the stream's model does not say when its target is active."""
        check_gate(stream.spec)
        self._stream, self._settings = stream, settings
        rate = stream.sample_rate
        back = round(settings.lookback * rate)
        self.latency = stream.latency + back
        self._hold = round(settings.hold * rate)
        self._line = np.zeros((stream.channels, 1 << back.bit_length()), np.float32)
        floor = 10 ** (-settings.floor / 20)
        self._state = np.zeros(GATE_WORDS)
        self._state[GATE_UP] = (1.0 - floor) / max(1.0, ATTACK_S * rate)
        self._state[GATE_DOWN] = floor ** (1.0 / (RELEASE_S * rate))
        self._state[GATE_FLOOR], self._state[GATE_BACK] = floor, back
        turn_down.load()
        self._begin()

    def _begin(self) -> None:
        self._state[[GATE_GAIN, GATE_OPEN, GATE_AT]] = self._state[GATE_FLOOR], 0.0, 0.0
        self._left = 0

    @property
    def gain(self) -> float:
        """Of the newest sample: 1 when open."""
        return float(self._state[GATE_GAIN])

    @property
    def activity(self) -> float | None:
        return self._stream.activity

    @property
    def strength(self) -> float | None:
        return self._stream.strength

    @strength.setter
    def strength(self, value: float | None) -> None:
        self._stream.strength = value

    def reset(self) -> None:
        """As Stream: forget all sound. The gate is shut."""
        self._stream.reset()
        self._line[:] = 0
        self._begin()

    def process(
        self, block: NDArray[Any], out: NDArray[np.float32] | None = None, sources: bool = False
    ) -> NDArray[np.float32]:
        """As Stream, ``latency`` samples late. Raises InputError for sources: the gate is the target's."""
        if sources:
            raise InputError("A gate has the target only; take the sources from the stream itself.")
        if out is None:
            out = np.empty(block.shape, np.float32)
        rows = out[:, None] if out.ndim == 1 else out
        grain = self._stream.grain
        done = 0
        while done < len(block):
            # What a hop says counts from the last of its grains on, whichever blocks it came in.
            until = self._stream.until_hop
            count = min(len(block) - done, until - grain if until > grain else until)
            self._stream.process(block[done : done + count], out[done : done + count])
            self._left = max(0, self._left - count)
            if count == until:
                self._judge()
            self._turn_down(rows[done : done + count])
            done += count
        return out

    def flush(self, sources: bool = False) -> NDArray[np.float32]:
        """As Stream: the last ``latency`` samples, as if silence followed; then the stream is as new."""
        silence = np.zeros((self.latency, self._stream.channels), np.float32)
        tail = self.process(silence[:, 0] if self._stream.channels == 1 else silence, sources=sources)
        self.reset()
        return tail

    def _turn_down(self, rows: NDArray[np.float32]) -> None:
        block = np.ascontiguousarray(rows)
        line = self._line.ctypes.data, self._line.shape[1]
        turn_down(self._state.ctypes.data, *line, block.ctypes.data, self._line.shape[0], len(block))
        if block is not rows:
            rows[:] = block

    def _judge(self) -> None:
        activity, was_open = self._stream.activity or 0.0, self._state[GATE_OPEN] == 1.0
        if activity >= self._settings.open * (_STAYS if was_open else 1.0):
            self._left = max(1, self._hold)
            self._state[GATE_OPEN] = 1.0
        elif not self._left:
            self._state[GATE_OPEN] = 0.0


class GatedEnhancer(Enhancer):
    """An Enhancer behind a gate: for files, where looking back costs no time."""

    def __init__(
        self, model: Model, sample_rate: int, channels: int, strength: float | None, settings: GateSettings
    ) -> None:
        """As Enhancer; the limit of the attenuation holds before the gate, within the model's band."""
        super().__init__(model, sample_rate, channels)
        self._stream: Any = Gated(model.stream(channels=channels, strength=strength), settings)
        self._start()
