"""The words, int64, of the contexts by which C functions know a stream's memory, and the functions (`stream_kernels`).

An address is that of the first value of an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.native_function import NativeFunction

# Of a stream: sizes, addresses of its arrays and lengths of its rings, then the tables of both conversions of the rate.
CHANNELS, ROWS, CHUNK, STAGE, WIDE_STAGE, INPUT, INPUT_LENGTH, HEARD, HEARD_LENGTH, MADE, MADE_LENGTH = range(11)
SCRATCH, SCRATCH_LENGTH, WET, MIXED, GAIN, INWARD = range(11, 17)
TABLE, PHASES, TAPS, BEFORE, UP, DOWN, WAY_WORDS = range(7)
OUTWARD = INWARD + WAY_WORDS
WORDS = OUTWARD + WAY_WORDS
NO_MASK = (1 << 62) - 1

# Of the dilated history that a step graph of onnxruntime needs.
HISTORY, HISTORY_ROWS, DILATIONS, STARTS, LAYERS, REACH, HIDDEN, TAPPED, COLUMN, HISTORY_WORDS = range(10)

# Of a gate, float64.
GATE_GAIN, GATE_OPEN, GATE_UP, GATE_DOWN, GATE_FLOOR, GATE_AT, GATE_BACK, GATE_WORDS = range(8)


def context(length: int, numbers: Mapping[int, int], arrays: Mapping[int, NDArray[Any]]) -> NDArray[np.int64]:
    """[length] int64 of words: numbers, and addresses of arrays that whoever makes it keeps alive."""
    words = np.zeros(length, np.int64)
    for word, number in numbers.items():
        words[word] = number
    for word, array in arrays.items():
        words[word] = array.ctypes.data
    return words


def _function(name: str, parameters: int) -> NativeFunction:
    return NativeFunction("rtsep.engine.stream_kernels", name, f"void({', '.join(['int64'] * parameters)})")


take_block = _function("take_block", 4)
bring_in = _function("bring_in", 3)
bring_out = _function("bring_out", 4)
mix_out = _function("mix_out", 3)
copy_windows = _function("copy_windows", 6)
add_frames = _function("add_frames", 11)
gather_taps = _function("gather_taps", 2)
scatter_column = _function("scatter_column", 2)
settle_state = _function("settle_state", 2)
turn_down = _function("turn_down", 6)


def load() -> None:
    """All that streams call, before the first of them runs."""
    for function in (take_block, bring_in, bring_out, mix_out, copy_windows, add_frames):
        function.load()


def load_more() -> None:
    """What only some streams call: those of onnxruntime, and gates."""
    for function in (gather_taps, scatter_column, settle_state, turn_down):
        function.load()
