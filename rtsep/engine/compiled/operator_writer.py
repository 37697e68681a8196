"""OperatorWriter: the records of an operator, for all but products, views and branches.

A method each; it takes the node and its inputs and returns what the node makes. A value that moves is float32, and
where ONNX says integer a float32 too that is a whole number: exact below 2^24.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rtsep.engine.compiled import records
from rtsep.engine.compiled.onnx_file import DTYPES, Node
from rtsep.engine.compiled.operators import BINARY, UNARY, is_correlation
from rtsep.engine.compiled.record_writer import EXACT, Array, RecordWriter, UnsupportedError, merged, steps_of
from rtsep.engine.compiled.rewrite import DEPTHWISE
from rtsep.model_spec import ModelSpec

FUNCTIONS = {
    **{"Sigmoid": records.SIGMOID, "Tanh": records.TANH, "Log": records.LOG, "Exp": records.EXP, "Sqrt": records.SQRT},
    **{"Round": records.ROUND},
    **{"Reciprocal": records.RECIPROCAL, "Neg": records.NEGATIVE, "Relu": records.RELU, "Abs": records.ABSOLUTE},
    **{"Add": records.ADD, "Sub": records.SUBTRACT, "Mul": records.MULTIPLY, "Div": records.DIVIDE},
    **{"PRelu": records.PRELU, "Max": records.MAXIMUM, "Min": records.MINIMUM},
}
FEW = 8  # so many values are added in pairs, as rows


class OperatorWriter(RecordWriter):
    """`integers` are the names of the values that move and are integers."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.integers: set[str] = set()

    def elementwise(self, node: Node, inputs: list[Any]) -> Array:
        y = self.rows.new(np.broadcast_shapes(*(x.shape for x in inputs)))
        self._elementwise(records.UNARY if node.op in UNARY else records.BINARY, FUNCTIONS[node.op], inputs, y)
        return y

    def clip(self, node: Node, inputs: list[Any]) -> Array:
        x, *bounds = inputs
        y = self.rows.new(x.shape)
        for function, bound in zip((records.MAXIMUM, records.MINIMUM), bounds, strict=False):
            if bound is not None:
                self._elementwise(records.BINARY, function, [x, bound], y)
                x = y
        return x

    def cast(self, node: Node, inputs: list[Any]) -> Array:
        to, integer = DTYPES.get(node.attributes["to"]), node.inputs[0] in self.integers
        if to not in (np.float32, np.int32, np.int64):
            raise UnsupportedError("operator Cast is compiled for float32, int32 and int64")
        if integer == (to is not np.float32):
            return inputs[0]
        y = self.rows.new(inputs[0].shape)
        self._elementwise(records.UNARY, records.TRUNCATE, inputs, y)  # of integers: what may be -0 becomes 0
        return y

    def concat(self, node: Node, inputs: list[Array]) -> Array:
        axis = node.attributes["axis"] % inputs[0].ndim
        parts: list[Array] = []
        for x in inputs:
            joined = self._joined(parts[-1], x, axis) if parts else None
            if joined is None:
                parts.append(x)
            else:
                parts[-1] = joined
        if len(parts) == 1 and self._moves(parts[0]):
            return parts[0]
        shape = list(inputs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in inputs)
        y = self.rows.new(tuple(shape))
        at = 0
        for x in parts:
            piece = y[(slice(None),) * axis + (slice(at, at + x.shape[axis]),)]
            self._elementwise(records.UNARY, records.COPY, [x], piece)
            at += x.shape[axis]
        return y

    def _joined(self, first: Array, second: Array, axis: int) -> Array | None:
        """One view of both, if the second begins where the first ends in the same piece of a row's memory."""
        size, step = first.shape[axis], first.strides[axis]
        if not (first.size and second.size and self._moves(first) and self._moves(second)):
            return None
        begins = [self.rows.offset(x) for x in (first, second)]
        beside = begins[1] - begins[0] == size * step // 4 and first.strides == second.strides
        if not beside or len({self.rows.piece(begin) for begin in begins}) > 1:
            return None
        shape = (*first.shape[:axis], size + second.shape[axis], *first.shape[axis + 1 :])
        return np.lib.stride_tricks.as_strided(first, shape, first.strides)

    def total(self, node: Node, inputs: list[Any]) -> Array:
        x, axes = inputs[0], inputs[1] if len(inputs) > 1 else None
        keepdims = bool(node.attributes.get("keepdims", 1))
        if axes is None:
            axes = [] if node.attributes.get("noop_with_empty_axes") else range(x.ndim)
        summed = sorted({int(axis) % x.ndim for axis in axes})
        kept = [axis for axis in range(x.ndim) if axis not in summed]
        lines = x.transpose(*summed, *kept)
        count = int(np.prod(lines.shape[: len(summed)]))
        if 0 < count <= FEW:
            for axis in summed:
                x = self._sum_of_pairs(x, axis)
            return x if keepdims else np.squeeze(x, tuple(summed))
        result = self.rows.new(tuple(1 if axis in summed else size for axis, size in enumerate(x.shape)))
        y = np.squeeze(result, tuple(summed))
        sizes, (step,) = merged(lines.shape[: len(summed)], [steps_of(lines)[: len(summed)]])
        if len(sizes) > 1:
            raise UnsupportedError("sums over several axes that do not join are not compiled")
        outer, steps = merged(y.shape, [steps_of(x.transpose(*kept, *summed))[: len(kept)], steps_of(y)])
        self._loops(records.TOTAL, 0, [x, y], [*outer, sizes[0]], [[*steps[0], step[0]], [*steps[1], 0]])
        return result if keepdims else y

    def _sum_of_pairs(self, x: Array, axis: int) -> Array:
        """The sum along an axis, which stays: of neighbours, then of these sums' neighbours, and so on."""

        def part(begin: int, end: int | None, step: int = 1) -> Array:
            return x[(slice(None),) * axis + (slice(begin, end, step),)]

        count = x.shape[axis]
        if count == 1:
            return x
        if count % 2:
            pair = [self._sum_of_pairs(part(0, -1), axis), part(-1, None)]
        else:
            pair = [part(0, None, 2), part(1, None, 2)]
        y = self.rows.new(pair[0].shape)
        self._elementwise(records.BINARY, records.ADD, pair, y)
        return self._sum_of_pairs(y, axis)

    def norm(self, node: Node, inputs: list[Any]) -> Array:
        x, gain = inputs[0], inputs[1]
        if node.attributes.get("axis", -1) % x.ndim != x.ndim - 1 or self._moves(gain) or len(node.outputs) > 1:
            raise UnsupportedError("operator LayerNormalization is compiled for the last axis and fixed gains")
        count = x.shape[-1]
        offset = inputs[2] if len(inputs) > 2 else np.zeros(count, np.float32)
        x = self._side_by_side(x)
        y = self.rows.new(x.shape)
        record = self._record(records.NORM, COUNT=count, INNER_ROWS=x.size // count)
        self.records[record][records.A_STEPS + 2] = self.records[record][records.Y_STEPS + 2] = count
        self._operand(record, records.A, x, records.A_ROW)
        self._operand(record, records.Y, y, records.Y_ROW)
        self._operand(record, records.B, np.broadcast_to(gain, (count,)))
        self._operand(record, records.OFFSET, np.broadcast_to(offset, (count,)))
        self._operand(record, records.EPSILON, self._number(node.attributes.get("epsilon", 1e-5)))
        return y

    def depthwise(self, node: Node, inputs: list[Array]) -> Array:
        spec, attributes = self.spec, node.attributes
        layer, x = attributes["layer"], self._side_by_side(inputs[0])
        y = self.rows.new((1, spec.hidden))
        record = self._record(
            records.DEPTHWISE,
            **{"COUNT": spec.hidden, "OFFSET": int(self.rings[layer])},
            **{"DILATION": spec.dilations[layer], "REACH": spec.kernel - 1},
        )
        self._operand(record, records.A, x, records.A_ROW)
        self._operand(record, records.Y, y, records.Y_ROW)
        self._operand(record, records.B, attributes["weights"])
        self._operand(record, records.BIAS, attributes["bias"])
        self._operand(record, records.SLOPE, self._number(attributes["slope"]))
        return y

    def largest(self, node: Node, inputs: list[Any]) -> Array:
        x, attributes = inputs[0], node.attributes
        last = x.ndim > 0 and attributes.get("axis", 0) % x.ndim == x.ndim - 1
        if not last or attributes.get("select_last_index"):
            raise UnsupportedError("operator ArgMax is compiled for the last axis and the first of equal values")
        result = self.rows.new((*x.shape[:-1], 1))
        y = result[..., 0]
        outer, steps = merged(y.shape, [steps_of(x)[:-1], steps_of(y)])
        inner = [[*steps[0], steps_of(x)[-1]], [*steps[1], 0]]
        self._loops(records.LARGEST, 0, [x, y], [*outer, x.shape[-1]], inner)
        return result if attributes.get("keepdims", 1) else y

    def gather(self, node: Node, inputs: list[Any]) -> Array:
        """By indices that move; by fixed ones it is a view."""
        x, index = inputs
        axis = node.attributes.get("axis", 0) % max(1, x.ndim)
        if not x.ndim or not 0 < x.size == x.shape[axis] <= EXACT:
            raise UnsupportedError("operator Gather by what changes is compiled for values of one axis")
        if not self._moves(x):
            x = self._constant(np.ascontiguousarray(x), integers=True)
        index = self._side_by_side(index)
        y = self.rows.new((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))
        record = self._record(records.GATHER, COUNT=index.size, DEPTH=x.size)
        self.records[record][records.A_STEPS + 3] = steps_of(x)[axis]
        self._operand(record, records.A, x, records.A_ROW)
        self._operand(record, records.B, index, records.B_ROW)
        self._operand(record, records.Y, y, records.Y_ROW)
        return y

    def correlation(self, node: Node, inputs: list[Any]) -> Array:
        if not is_correlation(*inputs, **node.attributes):
            raise UnsupportedError(
                "operator Conv is compiled for one channel, without bias, padding, stride or dilation"
            )
        x, weights = (self._side_by_side(value) if self._moves(value) else value for value in inputs[:2])
        taps = weights.size
        if not self._moves(weights) and np.all(weights == 1):
            return self._moving_sum(x, taps)
        y = self.rows.new((1, 1, x.size - taps + 1))
        record = self._record(records.CORRELATE, COUNT=y.size, DEPTH=taps)
        self._operand(record, records.A, x, records.A_ROW)
        self._operand(record, records.B, weights, records.B_ROW)
        self._operand(record, records.Y, y, records.Y_ROW)
        return y

    def _moving_sum(self, x: Array, count: int) -> Array:
        """The sums of so many neighbours along the last axis: two of half as many, and the odd one."""
        if count == 1:
            return x
        half, length = self._moving_sum(x, count // 2), x.shape[-1] - count + 1
        y = self.rows.new((*x.shape[:-1], length))
        following = half[..., count // 2 :]
        self._elementwise(records.BINARY, records.ADD, [half[..., :length], following[..., :length]], y)
        if count % 2:
            self._elementwise(records.BINARY, records.ADD, [y, x[..., count - 1 :]], y)
        return y


WRITERS: dict[str, Callable[[OperatorWriter, Node, list[Any]], Array]] = {
    **{op: OperatorWriter.elementwise for op in (*UNARY, *BINARY)},
    "Clip": OperatorWriter.clip,
    "Cast": OperatorWriter.cast,
    "Concat": OperatorWriter.concat,
    "ReduceSum": OperatorWriter.total,
    "LayerNormalization": OperatorWriter.norm,
    DEPTHWISE: OperatorWriter.depthwise,
    "ArgMax": OperatorWriter.largest,
    "Gather": OperatorWriter.gather,
    "Conv": OperatorWriter.correlation,
}
