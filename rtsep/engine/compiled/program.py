"""A program: what a step graph has been compiled to, and memory with which it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled import records
from rtsep.engine.compiled.places import ALIGNMENT
from rtsep.model_spec import ModelSpec

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

WEIGHTS, ROW = 0, 1  # what an operand lies in


@dataclass(frozen=True)
class Operand:
    """Which words of which record are an address and the stride of its rows (-1: none), and what it points into."""

    record: int
    word: int
    row_word: int
    space: int


@dataclass(frozen=True)
class Program:
    """Records whose operands are offsets in values, the packed weights, and how the memory of a row is used.

    Of weights that a record says are float16, two lie in the place of a value.

    `places` gives offset and shape of the window and the outputs in a row; `kept` offset and length of what a stream
    keeps from hop to hop in its own memory of `kept_values`.
    """

    spec: ModelSpec
    records: Integers  # [records, WORDS]
    segments: Integers  # [segments, 3]: first record, the one after the last, whether it goes row by row
    operands: tuple[Operand, ...]
    weights: Floats
    row_values: int
    places: dict[str, tuple[int, tuple[int, ...]]]
    kept: dict[str, tuple[int, int]]
    kept_values: int


def aligned(values: int) -> Floats:
    """float32 zeros whose first lies at the beginning of a line of the cache."""
    memory = np.zeros(values + ALIGNMENT, np.float32)
    begin = -(memory.ctypes.data // 4) % ALIGNMENT
    return memory[begin : begin + values]


@dataclass
class Workspace:
    """A program with memory for `rows` rows; `context` is what `interpreter.run` is called with.

    `table` is [rows, 2]: the address of the memory of a row's stream, and the number of its hop.
    """

    program: Program
    rows: int
    values: Floats = field(init=False)
    table: Integers = field(init=False)
    context: Integers = field(init=False)

    def __post_init__(self) -> None:
        program = self.program
        # An odd number of lines from row to row, so that rows do not fight for the same places in the cache.
        self.stride = (-(-program.row_values // ALIGNMENT) | 1) * ALIGNMENT
        self.values = aligned(self.rows * self.stride)
        self.table = np.zeros((self.rows, records.ROW_WORDS), np.int64)
        self._records = program.records.copy()
        bases = {WEIGHTS: program.weights.ctypes.data, ROW: self.values.ctypes.data}
        for each in program.operands:
            words = self._records[each.record]
            words[each.word] = bases[each.space] + 4 * words[each.word]
            if each.row_word >= 0:
                words[each.row_word] = 4 * self.stride if each.space == ROW else 0
        self.context = np.array(
            [
                self._records.ctypes.data,
                program.segments.ctypes.data,
                len(program.segments),
                self.table.ctypes.data,
                program.spec.slow_rate,
            ],
            np.int64,
        )

    def rows_of(self, name: str) -> Floats:
        """An input or output of the graph in all rows, [rows, *shape]."""
        offset, shape = self.program.places[name]
        steps = np.empty(shape, np.float32).strides
        first = self.values[offset:]
        return np.lib.stride_tricks.as_strided(first, (self.rows, *shape), (4 * self.stride, *steps))

    def view(self, name: str, row: int = 0) -> Floats:
        """An input or output of the graph in a row's memory, of its shape."""
        offset, shape = self.program.places[name]
        at = row * self.stride + offset
        return self.values[at : at + int(np.prod(shape))].reshape(shape)
