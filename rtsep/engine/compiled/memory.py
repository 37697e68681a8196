"""Memory by its address, and vector arithmetic that numba has no words for: intrinsics that become LLVM code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import carray, float32, float64, int16, int64, njit, types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

from rtsep.engine.compiled.records import VECTOR

intrinsic: Any = _intrinsic  # without types: what it returns takes other arguments than it is given
_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, VECTOR)
_HALVES = ir.VectorType(ir.HalfType(), VECTOR)


@intrinsic
def pointer_to_floats(typing: Any, address: Any) -> Any:
    """An int64 address as a pointer to float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], _FLOAT.as_pointer())

    return types.CPointer(float32)(int64), code


@intrinsic
def pointer_to_integers(typing: Any, address: Any) -> Any:
    """An int64 address as a pointer to int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], _INT64.as_pointer())

    return types.CPointer(int64)(int64), code


@intrinsic
def pointer_to_shorts(typing: Any, address: Any) -> Any:
    """An int64 address as a pointer to int16."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(16).as_pointer())

    return types.CPointer(int16)(int64), code


@intrinsic
def pointer_to_doubles(typing: Any, address: Any) -> Any:
    """An int64 address as a pointer to float64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.DoubleType().as_pointer())

    return types.CPointer(float64)(int64), code


@njit(inline="always")
def floats(address, length):
    """float32 `[length]` at an address; whoever calls keeps the memory alive."""
    return carray(pointer_to_floats(address), (length,))


@njit(inline="always")
def integers(address, length):
    """int64 `[length]` at an address."""
    return carray(pointer_to_integers(address), (length,))


@intrinsic
def read(typing: Any, address: Any) -> Any:
    """The float32 at an address; for values that do not lie side by side."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _FLOAT.as_pointer()), align=4)

    return float32(int64), code


@intrinsic
def write(typing: Any, address: Any, value: Any) -> Any:
    """Puts a float32 at an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], _FLOAT.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(int64, float32), code


@intrinsic
def power_of_two(typing: Any, exponent: Any) -> Any:
    """2^exponent of a float32 that is a whole number from -126 to 127."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], _INT32), ir.Constant(_INT32, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(_INT32, 23)), _FLOAT)

    return float32(float32), code


@intrinsic
def exponent_of(typing: Any, value: Any) -> Any:
    """The whole number e, as a float32, for which value = m × 2^e and 0.5 <= m < 1; value is positive and normal."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.lshr(builder.bitcast(arguments[0], _INT32), ir.Constant(_INT32, 23))
        return builder.sitofp(builder.sub(bits, ir.Constant(_INT32, 126)), _FLOAT)

    return float32(float32), code


@intrinsic
def mantissa_of(typing: Any, value: Any) -> Any:
    """That m, from 0.5 to 1."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.and_(builder.bitcast(arguments[0], _INT32), ir.Constant(_INT32, 0x7FFFFF))
        return builder.bitcast(builder.or_(bits, ir.Constant(_INT32, 126 << 23)), _FLOAT)

    return float32(float32), code


@intrinsic
def call(typing: Any, address: Any, context: Any, rows: Any) -> Any:
    """Calls the C function void(int64 context, int64 rows) at an address: what it does is compiled elsewhere, once."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_INT64, _INT64])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(int64, int64, int64), code


@intrinsic
def call_step(typing: Any, address: Any, context: Any, source: Any, target: Any) -> Any:
    """Calls a native step (see `native`) at an address; source, target: addresses of the sound."""

    def code(context_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sound = _FLOAT.as_pointer()
        kind = ir.FunctionType(_INT32, [_INT64, sound, sound])
        ends = [builder.inttoptr(argument, sound) for argument in arguments[2:]]
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [arguments[1], *ends])

    return types.int32(*[int64] * 4), code


@intrinsic
def call_streams(typing: Any, address: Any, context: Any, rows: Any, order: Any, sound: Any) -> Any:
    """Calls the C function of `streams` at an address, in place; sound: the address of the first row."""

    def code(context_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        floats = _FLOAT.as_pointer()
        kind = ir.FunctionType(_INT32, [_INT64, _INT64, _INT64, floats, floats])
        place = builder.inttoptr(arguments[4], floats)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(function, [*arguments[1:4], place, place])

    return types.int32(*[int64] * 5), code


def tile(rows: int, vectors: int, half: bool = False) -> Any:
    """An intrinsic: `rows` rows of x times `vectors` vectors of columns of a weight block, kept in registers.

    Weights are float32, or with `half` float16 that are widened as they are read.

    It takes (weights, pitch, x, x_step, x_row, y, y_row, depth): addresses, and strides in bytes. Weight i of the
    block's first column lies at weights + i × pitch, x[r, i] at x + r × x_row + i × x_step; y[r] gets VECTOR × vectors
    values at y + r × y_row. Every sum is taken in the order of i, so its bits do not depend on how many rows go
    together.
    """

    kept, size = (_HALVES, 2) if half else (_VECTOR, 4)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, pitch, x, x_step, x_row, y, y_row, depth = arguments
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{VECTOR}f32")
        shuffle = ir.Constant(ir.VectorType(_INT32, VECTOR), [0] * VECTOR)
        starts = [builder.add(x, builder.mul(x_row, ir.Constant(_INT64, row))) for row in range(rows)]
        before = builder.block
        loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(_INT64)
        sums = [[builder.phi(_VECTOR) for _ in range(vectors)] for _ in range(rows)]
        block = builder.add(weights, builder.mul(i, pitch))
        columns = []
        for v in range(vectors):
            place = builder.add(block, ir.Constant(_INT64, size * VECTOR * v))
            column = builder.load(builder.inttoptr(place, kept.as_pointer()), align=size)
            columns.append(builder.fpext(column, _VECTOR) if half else column)
        added = []
        for row in range(rows):
            place = builder.add(starts[row], builder.mul(i, x_step))
            value = builder.load(builder.inttoptr(place, _FLOAT.as_pointer()), align=4)
            one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_INT32, 0))
            all_same = builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), shuffle)
            added.append([builder.call(fma, [columns[v], all_same, sums[row][v]]) for v in range(vectors)])
        following = builder.add(i, ir.Constant(_INT64, 1))
        i.add_incoming(ir.Constant(_INT64, 0), before)
        i.add_incoming(following, loop)
        for row in range(rows):
            for v in range(vectors):
                sums[row][v].add_incoming(ir.Constant(_VECTOR, None), before)
                sums[row][v].add_incoming(added[row][v], loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)
        builder.position_at_end(done)
        for row in range(rows):
            place = builder.add(y, builder.mul(y_row, ir.Constant(_INT64, row)))
            for v in range(vectors):
                at = builder.add(place, ir.Constant(_INT64, 4 * VECTOR * v))
                builder.store(added[row][v], builder.inttoptr(at, _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    def typed(
        typing: Any, weights: Any, pitch: Any, x: Any, x_step: Any, x_row: Any, y: Any, y_row: Any, depth: Any
    ) -> Any:
        return types.void(*[int64] * 8), code

    typed.__name__ = f"tile_{rows}_by_{vectors}{'_half' * half}"
    return intrinsic(typed)
