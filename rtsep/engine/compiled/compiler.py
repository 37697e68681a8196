"""A step graph to a program.

The compiler walks the graph with numpy arrays that stand for values: views of memory that nobody writes to. What only
moves values about (slices, splits, reshapes, transposes) is done by numpy on these views and costs nothing when the
program runs; what is known beforehand is computed; the rest becomes records, whose addresses and strides are those of
the views. A product takes along the bias, PReLU or sum that follows it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from rtsep.engine.compiled import records
from rtsep.engine.compiled.onnx_file import DTYPES, Graph, Node, OnnxFile
from rtsep.engine.compiled.operator_writer import WRITERS, OperatorWriter
from rtsep.engine.compiled.operators import OPERATORS, VIEWS
from rtsep.engine.compiled.places import plan
from rtsep.engine.compiled.processor import widens_halves
from rtsep.engine.compiled.program import ROW, Program, aligned
from rtsep.engine.compiled.record_writer import Array, PhaseTest, UnsupportedError, are_halves, merged, pack, steps_of
from rtsep.engine.compiled.rewrite import hop_by_hop, join_depthwise, needed
from rtsep.model_spec import ModelSpec

OLDEST_OPSET, NEWEST_OPSET = 13, 22  # between them the operators here say the same
ALWAYS = 1 << 40  # the number of a record after all others


def compile_model(file: OnnxFile, spec: ModelSpec) -> Program:
    """The program of the step graph in a file. Raises UnsupportedError."""
    if spec.form != "step":
        raise UnsupportedError(f"form {spec.form} is not compiled, only form step")
    if not OLDEST_OPSET <= file.opset <= NEWEST_OPSET:
        raise UnsupportedError(f"operators of version {file.opset} are not compiled")
    try:
        return _Compiler(file.graph, spec).program()
    except MemoryError:
        raise UnsupportedError("the graph is too large to be compiled") from None
    except UnsupportedError:
        raise
    except (TypeError, ValueError, IndexError, KeyError) as error:  # an operator that is not as ONNX says
        raise UnsupportedError(f"the graph is not understood ({error})") from None


class _Compiler(OperatorWriter):
    def __init__(self, graph: Graph, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.graph = graph
        self.values: dict[str, Any] = {}
        self.done: set[int] = set()
        self.uses: Counter[str] = Counter()
        self.takers: dict[str, list[Node]] = {}

    # The whole.

    def program(self) -> Program:
        spec = self.spec
        places: dict[str, Array] = {}
        for name, shape in spec.inputs().items():
            if name != "phase":
                self.values[name] = self.rows.new(shape)
        self._keep("state", spec.state)
        self._keep("condition", spec.condition)
        rings = [(spec.kernel - 1) * dilation * spec.hidden for dilation in spec.dilations]
        self._keep("history", sum(rings))
        self.rings = self.kept["history"][0] + np.cumsum([0, *rings])
        self._touch(self.values["window"], -1)

        self.values |= self.graph.initialisers
        self._fold(self.graph.nodes)
        constants = {name: value for name, value in self.values.items() if not self._moves(value)}
        joined = (
            join_depthwise(self.graph, constants, spec.layers, spec.kernel - 1, spec.hidden) if spec.layers else None
        )
        nodes = joined or self.graph.nodes
        columns = bool(spec.layers) and joined is None
        wanted = ["frames", *(["activity"] if spec.activity else [])]
        sinks = [*(["next_state"] if spec.state else []), *(["column"] if columns else [])]
        nodes = needed([node for node in nodes if id(node) not in self.done], wanted + sinks)
        self._count(nodes)
        self.uses.update(wanted + sinks)

        sources = {*(["state"] if spec.state else []), *(["taps"] if columns else []), "phase"}
        before, within, after = hop_by_hop(nodes, sources, set(sinks))
        segments = [0]
        if spec.condition:
            self._memory(records.RECALL, "condition", self.values["condition"])
        self._nodes(before)
        segments.append(len(self.records))
        if spec.state:
            self._memory(records.RECALL, "state", self.values["state"])
        if columns:
            self._history(records.TAPS, self.values["taps"])
        self._nodes(within)
        if columns:
            self._history(records.COLUMN, self._side_by_side(self._value("column")))
        if spec.state:
            self._memory(records.KEEP, "state", self._side_by_side(self._value("next_state")))
        segments.append(len(self.records))
        self._nodes(after)
        for name in wanted:
            places[name] = self._side_by_side(self._value(name))
        segments.append(len(self.records))
        places["window"] = self.values["window"]
        for array in places.values():
            self._touch(array, ALWAYS)
        return self._finished(segments, places)

    def _finished(self, segments: list[int], places: dict[str, Array]) -> Program:
        offsets, total = plan(self.lives)

        def moved(offset: int) -> int:
            piece = self.rows.piece(offset)
            return offsets[piece] + offset - self.rows.starts[piece]

        lines = np.array(self.records, np.int64).reshape(-1, records.WORDS)
        for operand in self.operands:
            if operand.space == ROW:
                lines[operand.record, operand.word] = moved(int(lines[operand.record, operand.word]))
        weights = aligned(self.weights.used)
        weights[:] = self.weights.values[: self.weights.used]
        parts = [(a, b, mode) for a, b, mode in zip(segments, segments[1:], (0, 1, 0), strict=False) if b > a]
        return Program(
            self.spec,
            lines,
            np.array(parts, np.int64).reshape(-1, records.SEGMENT_WORDS),
            tuple(self.operands),
            weights,
            total,
            {name: (moved(self.rows.offset(array)), array.shape) for name, array in places.items()},
            self.kept,
            self.kept_values,
        )

    def _count(self, nodes: list[Node]) -> None:
        for node in nodes:
            for name in node.inputs:
                self.uses[name] += 1
                self.takers.setdefault(name, []).append(node)
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    self._count(value.nodes)
                    self.uses.update(output.name for output in value.outputs)

    # Values.

    def _value(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise UnsupportedError(f"value {name!r} is not known where it is needed") from None

    # Nodes.

    def _fold(self, nodes: list[Node]) -> None:
        """Compute what needs nothing but constants."""
        for node in nodes:
            known = all(name in self.values and not self._moves(self.values[name]) for name in node.inputs if name)
            if known and node.op in OPERATORS and not any(isinstance(v, Graph) for v in node.attributes.values()):
                inputs = [self.values[name] if name else None for name in node.inputs]
                made = OPERATORS[node.op](*inputs, **node.attributes)
                self.values |= zip(node.outputs, made, strict=True)
                self.done.add(id(node))

    def _nodes(self, nodes: list[Node]) -> None:
        here = {id(node) for node in nodes}
        for node in nodes:
            self._fold([node])
            if id(node) not in self.done:
                self._node(node, here)
                self.integers.update(self._integers_of(node))

    def _integers_of(self, node: Node) -> list[str]:
        """Those of the values that a node makes, and that move, that are integers."""
        if node.op == "If":
            branch = node.attributes["then_branch"].outputs
            pairs = zip(node.outputs, branch, strict=True)
            return [name for name, made in pairs if made.name in self.integers or "int" in made.type]
        if node.op == "ArgMax" or (node.op == "Cast" and DTYPES[node.attributes["to"]] is not np.float32):
            return node.outputs
        if node.op == "Cast":
            return []
        name = node.inputs[1 if node.op == "Where" else 0]
        value = self.values.get(name)
        constant = isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "i"
        return node.outputs if constant or name in self.integers else []

    def _node(self, node: Node, here: set[int]) -> None:
        op = node.op
        if op == "If":
            return self._if(node)
        if op == "Equal" and "phase" in node.inputs:
            other = self._value(next(name for name in node.inputs if name != "phase"))
            self.values[node.outputs[0]] = PhaseTest(int(np.reshape(other, ())))
            return None
        inputs: list[Any] = [self._value(name) if name else None for name in node.inputs]
        if op == "Where" and isinstance(inputs[0], PhaseTest):
            return self._where(node, inputs)
        if any(isinstance(value, PhaseTest) for value in inputs):
            raise UnsupportedError(f"operator {op} of the phase is not compiled")
        if op in ("Div", "Gemm", "MatMul") and not self.integers.isdisjoint(node.inputs):
            raise UnsupportedError(f"operator {op} of integers that change is not compiled")
        if op == "Shape":
            self.values[node.outputs[0]] = OPERATORS[op](inputs[0])[0]
        elif op in VIEWS and not (op == "Gather" and self._moves(inputs[1])):
            self._view(node, inputs)
        elif op in ("Gemm", "MatMul"):
            self._product(node, inputs, here)
        elif op in WRITERS:
            self.values[node.outputs[0]] = WRITERS[op](self, node, inputs)
        else:
            raise UnsupportedError(f"operator {op} is not compiled")
        return None

    def _view(self, node: Node, inputs: list[Any]) -> None:
        x, *rest = inputs
        if any(value is not None and self._moves(value) for value in rest):
            raise UnsupportedError(f"operator {node.op} by what changes is not compiled")
        made = OPERATORS[node.op](x, *rest, **node.attributes)
        if not all(self.rows.holds(y) or y.size == 0 for y in made):
            if node.op not in ("Reshape", "Flatten"):
                raise UnsupportedError(f"operator {node.op} with several indices is not compiled")
            made = OPERATORS[node.op](self._side_by_side(x), *rest, **node.attributes)
        for name, y in zip(node.outputs, made, strict=True):
            self.values[name] = y if y.size else self.rows.new(y.shape)

    def _product(self, node: Node, inputs: list[Any], here: set[int]) -> None:
        attributes = node.attributes
        x, matrix = inputs[0], inputs[1]
        if self._moves(matrix) or matrix.ndim != 2 or not self._moves(x) or attributes.get("transA"):
            raise UnsupportedError(f"operator {node.op} is compiled for a signal times fixed weights of two axes")
        matrix = np.float32(attributes.get("alpha", 1.0)) * (matrix.T if attributes.get("transB") else matrix)
        depth, outputs = matrix.shape
        bias = None
        if len(inputs) > 2:
            if self._moves(inputs[2]) or inputs[2].size not in (1, outputs):
                raise UnsupportedError("operator Gemm is compiled for one bias an output")
            scaled = np.float32(attributes.get("beta", 1.0)) * inputs[2].reshape(-1)
            bias = np.broadcast_to(scaled, (outputs,))
        leading = x.shape[:-1]
        vectors = -(-outputs // records.VECTOR)
        y = self.rows.new((*leading, vectors * records.VECTOR))[..., :outputs]
        sizes, steps = merged(leading, [steps_of(x)[:-1], steps_of(y)[:-1]])
        if len(sizes) > 1:
            x = self._side_by_side(x)
            sizes, steps = merged(leading, [steps_of(x)[:-1], steps_of(y)[:-1]])
        inner = sizes[0] if sizes else 1
        # Weights that were rounded for a small file are read as such: half as many bytes, and the bits are the same.
        half = widens_halves() and are_halves(matrix)
        record = self._record(
            records.PRODUCT,
            HALF=int(half),
            **{"COUNT": outputs, "DEPTH": depth, "VECTORS": vectors, "INNER_ROWS": inner},
        )
        line = self.records[record]
        line[records.A_STEPS + 3] = steps_of(x)[-1]
        line[records.A_STEPS + 2], line[records.Y_STEPS + 2] = (steps[0][0], steps[1][0]) if sizes else (0, 0)
        self._operand(record, records.A, x, records.A_ROW)
        self._operand(record, records.Y, y, records.Y_ROW)
        self._operand(record, records.B, pack(matrix, half))
        self._finish(node.outputs[0], record, y, bias, here)

    def _finish(self, name: str, record: int, y: Array, bias: Array | None, here: set[int]) -> None:
        """What follows a product and can be done with it: a bias, and then a PReLU of one slope or a sum."""
        kind, slope = records.PLAIN if bias is None else records.WITH_BIAS, 1.0
        while follower := self._follower(name, here):
            other = self.values.get(next((each for each in follower.inputs if each != name), ""))
            if other is None or isinstance(other, PhaseTest):
                break
            fixed = not self._moves(other)
            if (
                follower.op == "Add"
                and bias is None
                and fixed
                and other.size in (1, y.shape[-1])
                and other.ndim <= y.ndim
            ):
                bias, kind = np.broadcast_to(other.reshape(-1), (y.shape[-1],)), records.WITH_BIAS
            elif follower.op == "PRelu" and follower.inputs[0] == name and fixed and other.size == 1:
                kind, slope = records.WITH_PRELU, float(other.reshape(()))
            elif (
                follower.op == "Add"
                and not fixed
                and other.shape == y.shape
                and y.size == y.shape[-1]
                and other.flags.c_contiguous
            ):
                kind = records.WITH_SUM
                self._operand(record, records.OFFSET, other, records.B_ROW)
            else:
                break
            self.done.add(id(follower))
            name = follower.outputs[0]
            if kind != records.WITH_BIAS:
                break
        self.records[record][records.FUNCTION] = kind
        self._operand(record, records.BIAS, np.zeros(y.shape[-1], np.float32) if bias is None else bias)
        self._operand(record, records.SLOPE, self._number(slope))
        self.values[name] = y

    def _follower(self, name: str, here: set[int]) -> Node | None:
        """The only node that takes a value, if it is among those that are compiled now."""
        found = self.takers.get(name, [])
        return found[0] if self.uses[name] == 1 and len(found) == 1 and id(found[0]) in here else None

    # Branches.

    def _if(self, node: Node, places: list[Array] | None = None) -> None:
        """``places``: where to put what it makes, if that is known."""
        test = self._value(node.inputs[0])
        if not isinstance(test, PhaseTest):
            raise UnsupportedError("operator If is compiled for the phase alone")
        outside = dict(self.values)
        skip = self._record(records.UNLESS_PHASE, PHASE=test.phase)
        for branch in ("then_branch", "else_branch"):
            graph: Graph = node.attributes[branch]
            self.values = outside | graph.initialisers
            last = graph.nodes[-1] if graph.nodes else None
            if places and last and last.op == "If" and last.outputs == [output.name for output in graph.outputs]:
                self._nodes(graph.nodes[:-1])
                self._if(last, places)
            else:
                self._nodes(graph.nodes)
                made = [self._value(output.name) for output in graph.outputs]
                places = places or [self.rows.new(value.shape) for value in made]
                for value, place in zip(made, places, strict=True):
                    self._elementwise(records.UNARY, records.COPY, [value], place)
            if branch == "then_branch":
                leave = self._record(records.GO_TO)
                self.records[skip][records.TARGET] = len(self.records)
        self.records[leave][records.TARGET] = len(self.records)
        self.values = outside | dict(zip(node.outputs, places or [], strict=True))

    def _where(self, node: Node, inputs: list[Any]) -> None:
        test, yes, no = inputs
        y = self.rows.new(np.broadcast_shapes(yes.shape, no.shape))
        skip = self._record(records.UNLESS_PHASE, PHASE=test.phase)
        self._elementwise(records.UNARY, records.COPY, [yes], y)
        leave = self._record(records.GO_TO)
        self.records[skip][records.TARGET] = len(self.records)
        self._elementwise(records.UNARY, records.COPY, [no], y)
        self.records[leave][records.TARGET] = len(self.records)
        self.values[node.outputs[0]] = y
