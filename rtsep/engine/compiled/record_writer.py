"""RecordWriter: the records of a program that is being compiled, and the memory that they are about."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled import records
from rtsep.engine.compiled.places import Life, Memory
from rtsep.engine.compiled.program import ROW, WEIGHTS, Operand
from rtsep.model_spec import ModelSpec

Array = NDArray[Any]
Shape = tuple[int, ...]
EXACT = 1 << 24  # float32 holds all integers below
SHORT = 8  # fewer values are not worth a loop


class UnsupportedError(ValueError):
    """The graph holds what is not compiled here; says what, in one sentence."""


class PhaseTest:
    """A truth value: whether the hop has this number in its round."""

    def __init__(self, phase: int) -> None:
        self.phase = phase


def are_halves(weights: Array) -> bool:
    """Whether each is a number that float16 has, none of them infinite."""
    with np.errstate(all="ignore"):
        half = weights.astype(np.float16)
    return bool(np.isfinite(half).all() and np.array_equal(half.astype(np.float32), weights))


def pack(weights: Array, half: bool = False) -> NDArray[np.float32]:
    """[depth, outputs] as `kernels.product` reads it: blocks of outputs, filled up with zeros to whole vectors.

    With `half` two float16 lie in the place of each float32.
    """
    depth, outputs = weights.shape
    vectors = -(-outputs // records.VECTOR)
    padded = np.zeros((depth, vectors * records.VECTOR), np.float32)
    padded[:, :outputs] = weights
    wide = records.BLOCK_VECTORS * records.VECTOR
    packed = np.concatenate(
        [padded[:, begin : begin + wide].ravel() for begin in range(0, vectors * records.VECTOR, wide)]
    )
    return packed.astype(np.float16).view(np.float32) if half else packed


def merged(shape: Shape, strides: list[Shape]) -> tuple[list[int], list[list[int]]]:
    """Axes of several arrays of one shape, as few as will do: those of length 1 left out, neighbours joined."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        here = [stride[axis] for stride in strides]
        if sizes and all(kept[-1] == step * size for kept, step in zip(steps, here, strict=True)):
            sizes[-1] *= size
            for kept, step in zip(steps, here, strict=True):
                kept[-1] = step
        else:
            sizes.append(size)
            for kept, step in zip(steps, here, strict=True):
                kept.append(step)
    return sizes, steps


def _longest_last(sizes: list[int], steps: list[list[int]]) -> None:
    """Turns axes so that the innermost one is worth a loop, where it is but a few values."""
    if sizes and sizes[-1] < SHORT and (longest := int(np.argmax(sizes))) != len(sizes) - 1:
        for axes in (sizes, *steps):
            axes.append(axes.pop(longest))


def steps_of(array: Array) -> Shape:
    """The strides of an array, in values."""
    return tuple(stride // 4 for stride in array.strides)


class RecordWriter:
    """Writes the records of a program, and knows where the values lie that these are of.

    Values are numpy arrays that stand for memory: of a row, which changes from hop to hop, or of the weights.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.rows, self.weights = Memory(), Memory()
        self.records: list[NDArray[np.int64]] = []
        self.operands: list[Operand] = []
        self.lives: dict[int, Life] = {}
        self.placed: dict[int, tuple[Array, Array]] = {}  # constants by their identity, and where they lie
        self.kept: dict[str, tuple[int, int]] = {}
        self.kept_values = 0
        self.rings: NDArray[np.int64] = np.zeros(0, np.int64)  # where each layer's history begins among what is kept

    def _keep(self, name: str, count: int) -> None:
        self.kept[name] = (self.kept_values, count)
        self.kept_values += -(-count // records.VECTOR) * records.VECTOR

    def _moves(self, value: Any) -> bool:
        """Whether a value is one that changes from hop to hop."""
        return isinstance(value, PhaseTest) or self.rows.holds(value)

    def _constant(self, value: Array, integers: bool = False) -> Array:
        """A constant's copy among the weights, float32; of ``integers`` too, where those that move may be met."""
        integer = integers and value.dtype in (np.int32, np.int64)
        if integer and not np.all((value > -EXACT) & (value < EXACT)):
            raise UnsupportedError("integers of 2^24 and more are not compiled where they meet signals")
        if not integer and np.asarray(value).dtype != np.float32:
            raise UnsupportedError("numbers other than float32 are not compiled where they meet signals")
        if id(value) not in self.placed:
            # A view that says the same value again and again is one value.
            base = value[tuple(slice(0, 1) if step == 0 else slice(None) for step in value.strides)]
            place = self.weights.new(base.shape)
            place[...] = base
            self.placed[id(value)] = (value, np.broadcast_to(place, value.shape))
        return self.placed[id(value)][1]

    def _number(self, value: float) -> Array:
        return self._constant(np.array([value], np.float32))

    def _touch(self, array: Array, record: int) -> None:
        piece = self.rows.piece(self.rows.offset(array))
        ends = [*self.rows.starts, self.rows.used]
        life = self.lives.setdefault(piece, Life(ends[piece + 1] - ends[piece], record, record))
        life.first, life.last = min(life.first, record), max(life.last, record)

    def _side_by_side(self, x: Array) -> Array:
        """`x`, or a copy, as contiguous memory of a row."""
        if self.rows.holds(x) and x.flags.c_contiguous:
            return x
        y = self.rows.new(x.shape)
        self._elementwise(records.UNARY, records.COPY, [x], y)
        return y

    # Records.

    def _record(self, kind: int, function: int = 0, **words: int) -> int:
        line = np.zeros(records.WORDS, np.int64)
        line[records.KIND], line[records.FUNCTION] = kind, function
        for name, value in words.items():
            line[getattr(records, name)] = value
        self.records.append(line)
        return len(self.records) - 1

    def _operand(self, record: int, word: int, array: Array, row_word: int = -1) -> None:
        """Write the place of `array`, a row's value or a constant, into a record."""
        space, memory = (ROW, self.rows) if self.rows.holds(array) else (WEIGHTS, self.weights)
        if space == WEIGHTS and not self.weights.holds(array):
            array = self._constant(np.ascontiguousarray(array))
        self.records[record][word] = memory.offset(array)
        self.operands.append(Operand(record, word, row_word, space))
        if space == ROW:
            self._touch(array, record)

    def _elementwise(self, kind: int, function: int, inputs: list[Array], y: Array) -> None:
        if y.size == 0:
            return
        arrays = [x if self.rows.holds(x) else self._constant(x, integers=True) for x in inputs]
        arrays = [np.broadcast_to(x, y.shape) for x in arrays]
        sizes, steps = merged(y.shape, [steps_of(x) for x in (*arrays, y)])
        if function == records.COPY and kind == records.UNARY:
            _longest_last(sizes, steps)
        either_way = kind == records.BINARY and function in (records.ADD, records.MULTIPLY)
        if either_way and sizes and steps[0][-1] == 0:  # kernels are quick where the one value comes second
            arrays.reverse()
            steps[:2] = steps[1::-1]
        self._loops(kind, function, [*arrays, y], sizes, steps)

    def _loops(self, kind: int, function: int, arrays: list[Array], sizes: list[int], steps: list[list[int]]) -> None:
        """A record over all axes, of which there are at most four; `arrays` ends with what is written."""
        if len(sizes) > 4:
            raise UnsupportedError("arrays with more than four axes that do not join are not compiled")
        record = self._record(kind, function)
        line = self.records[record]
        missing = 4 - len(sizes)
        line[records.SIZES : records.SIZES + 4] = [1] * missing + sizes
        words = (records.A, records.A_ROW, records.A_STEPS), (records.B, records.B_ROW, records.B_STEPS)
        last = (records.Y, records.Y_ROW, records.Y_STEPS)
        for array, kept, (word, row_word, at) in zip(arrays, steps, (*words[: len(arrays) - 1], last), strict=True):
            line[at : at + 4] = [0] * missing + kept
            self._operand(record, word, array, row_word)

    def _memory(self, kind: int, name: str, array: Array) -> None:
        at, count = self.kept[name]
        record = self._record(kind, OFFSET=at, COUNT=count)
        self._operand(record, records.A, array, records.A_ROW)

    def _history(self, kind: int, array: Array) -> None:
        """TAPS or COLUMN: a record for each layer."""
        spec = self.spec
        for layer, dilation in enumerate(spec.dilations):
            words = {"OFFSET": int(self.rings[layer]), "COUNT": spec.hidden, "DILATION": dilation}
            record = self._record(kind, REACH=spec.kernel - 1, **words)
            self._operand(record, records.A, array.reshape(spec.layers, -1)[layer], records.A_ROW)
