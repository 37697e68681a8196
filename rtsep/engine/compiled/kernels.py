"""What the records of a program do: kernels over float32 memory, called with addresses (int64).

Each stands for an operator of ONNX, or for a few in one; `operators` has them in numpy, and tests hold both together.
Lengths and strides count values, not bytes. Rows are hops or streams; each has a region of its own, `row` values apart.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray, float32, int64, uint64, void

from rtsep.engine.compiled.elementary import FUSED, compiled, exponential, logarithm, sigmoid, tangent
from rtsep.engine.compiled.memory import floats, pointer_to_floats, read, tile, write
from rtsep.engine.compiled.processor import has_avx512, widens_halves
from rtsep.engine.compiled.records import (
    ABSOLUTE,
    ADD,
    BLOCK_VECTORS,
    COPY,
    DIVIDE,
    EXP,
    LOG,
    MAXIMUM,
    MULTIPLY,
    NEGATIVE,
    PRELU,
    RECIPROCAL,
    RELU,
    ROUND,
    SIGMOID,
    SQRT,
    SUBTRACT,
    TANH,
    TRUNCATE,
    VECTOR,
    WITH_BIAS,
    WITH_PRELU,
    WITH_SUM,
)
from rtsep.engine.limits import TINY

# A sum may be taken in any order and a product be fused with it, but NaN and infinity stay what they are.
FAST = {"reassoc", "contract", "arcp", "nsz"}


@compiled(void(int64, int64, int64, int64))
def _unary_side_by_side(function, x_at, y_at, count):
    x, y = floats(x_at, count), floats(y_at, count)
    if function == COPY:
        for i in range(count):
            y[i] = x[i]
    elif function == SIGMOID:
        for i in range(count):
            y[i] = sigmoid(x[i])
    elif function == TANH:
        for i in range(count):
            y[i] = tangent(x[i])
    elif function == LOG:
        for i in range(count):
            y[i] = logarithm(x[i])
    elif function == EXP:
        for i in range(count):
            y[i] = exponential(x[i])
    elif function == SQRT:
        for i in range(count):
            y[i] = np.sqrt(x[i])
    elif function == RECIPROCAL:
        for i in range(count):
            y[i] = np.float32(1.0) / x[i]
    elif function == NEGATIVE:
        for i in range(count):
            y[i] = -x[i]
    elif function == RELU:
        for i in range(count):
            y[i] = max(x[i], np.float32(0.0))
    elif function == ABSOLUTE:
        for i in range(count):
            y[i] = abs(x[i])
    elif function == ROUND:
        for i in range(count):
            y[i] = np.rint(x[i])
    elif function == TRUNCATE:
        for i in range(count):
            y[i] = np.trunc(x[i]) + np.float32(0.0)  # an integer has one zero: -0 becomes it


@compiled(void(int64, int64, int64, int64, int64, int64))
def unary(function, x, x_step, y, y_step, count):
    """y[i] = function(x[i]) for i < ``count``; ``x_step`` and ``y_step`` values lie between neighbours."""
    if x_step == 1 and y_step == 1:
        _unary_side_by_side(function, x, y, count)
    elif function == COPY:
        for i in range(count):
            write(y + 4 * i * y_step, read(x + 4 * i * x_step))
    else:
        for i in range(count):
            _unary_side_by_side(function, x + 4 * i * x_step, y + 4 * i * y_step, 1)


@compiled(float32(int64, float32, float32))
def _pair(function, a, b):
    if function == ADD:
        return a + b
    if function == SUBTRACT:
        return a - b
    if function == MULTIPLY:
        return a * b
    if function == DIVIDE:
        return a / b
    if function == PRELU:
        return a if a >= np.float32(0.0) else a * b
    if function == MAXIMUM:
        return max(a, b)
    return min(a, b)


@compiled(void(int64, int64, int64, int64, int64))
def _binary_side_by_side(function, a_at, b_at, y_at, count):
    a, b, y = floats(a_at, count), floats(b_at, count), floats(y_at, count)
    if function == ADD:
        for i in range(count):
            y[i] = a[i] + b[i]
    elif function == SUBTRACT:
        for i in range(count):
            y[i] = a[i] - b[i]
    elif function == MULTIPLY:
        for i in range(count):
            y[i] = a[i] * b[i]
    else:
        for i in range(count):
            y[i] = _pair(function, a[i], b[i])


@compiled(void(int64, int64, int64, int64, int64))
def _binary_with_reversed(function, a_at, b_end, y_at, count):
    """`b_end` is the last value in memory, and the first taken.

    Indices have no sign: of those that have, Numba asks whether they count from the end, and there are no vectors.
    """
    a, b, y = floats(a_at, count), floats(b_end - 4 * (count - 1), count), floats(y_at, count)
    if function == ADD:
        for i in range(count):
            y[i] = a[i] + b[uint64(count - 1 - i)]
    elif function == SUBTRACT:
        for i in range(count):
            y[i] = a[i] - b[uint64(count - 1 - i)]
    else:
        for i in range(count):
            y[i] = _pair(function, a[i], b[uint64(count - 1 - i)])


@compiled(void(int64, int64, int64, int64))
def _binary_of_neighbours(function, x_at, y_at, count):
    """y[i] = function(x[2i], x[2i + 1]); read as one array, for of two LLVM would gather each value by itself."""
    x, y = carray(pointer_to_floats(x_at), (count, 2)), floats(y_at, count)
    if function == ADD:
        for i in range(count):
            y[i] = x[i, 0] + x[i, 1]
    else:
        for i in range(count):
            y[i] = _pair(function, x[i, 0], x[i, 1])


@compiled(void(int64, int64, float32, int64, int64))
def _binary_with_scalar(function, a_at, b, y_at, count):
    a, y = floats(a_at, count), floats(y_at, count)
    if function == ADD:
        for i in range(count):
            y[i] = a[i] + b
    elif function == MULTIPLY:
        for i in range(count):
            y[i] = a[i] * b
    elif function == PRELU:
        for i in range(count):
            y[i] = a[i] if a[i] >= np.float32(0.0) else a[i] * b
    else:
        for i in range(count):
            y[i] = _pair(function, a[i], b)


@compiled(void(int64, int64, int64, int64, int64, int64, int64, int64))
def binary(function, a, a_step, b, b_step, y, y_step, count):
    """y[i] = function(a[i], b[i]) for i < ``count``; a step of 0 takes the same value again."""
    if y_step == 1 and a_step == 1 and b_step == 1:
        _binary_side_by_side(function, a, b, y, count)
    elif y_step == 1 and a_step == 1 and b_step == 0:
        _binary_with_scalar(function, a, read(b), y, count)
    elif y_step == 1 and a_step == 1 and b_step == -1:
        _binary_with_reversed(function, a, b, y, count)
    elif y_step == 1 and a_step == 2 and b_step == 2 and b == a + 4:
        _binary_of_neighbours(function, a, y, count)
    else:
        for i in range(count):
            write(y + 4 * i * y_step, _pair(function, read(a + 4 * i * a_step), read(b + 4 * i * b_step)))


@compiled(void(int64, int64, int64, int64, int64, float32), fastmath=FAST)
def layer_norm(x_at, gain_at, offset_at, y_at, count, epsilon):
    """(x - mean) / sqrt(variance + epsilon) × gain + offset over ``count`` values (Ba et al. 2016)."""
    x, y = floats(x_at, count), floats(y_at, count)
    gain, offset = floats(gain_at, count), floats(offset_at, count)
    total = np.float32(0.0)
    for i in range(count):
        total += x[i]
    mean = total / np.float32(count)
    square = np.float32(0.0)
    for i in range(count):
        square += (x[i] - mean) * (x[i] - mean)
    scale = np.float32(1.0) / np.float32(math.sqrt(square / np.float32(count) + epsilon))
    for i in range(count):
        y[i] = (x[i] - mean) * scale * gain[i] + offset[i]


@compiled(float32(int64, int64, int64), fastmath=FAST)
def total(x, step, count):
    """The sum of ``count`` values, ``step`` apart."""
    result = np.float32(0.0)
    if step == 1:
        values = floats(x, count)
        for i in range(count):
            result += values[i]
    else:
        for i in range(count):
            result += read(x + 4 * i * step)
    return result


@compiled(int64(int64, int64, int64))
def largest(x, step, count):
    """The number of the largest of ``count`` values, ``step`` apart; of equal ones the first."""
    best, found = read(x), 0
    for i in range(1, count):
        value = read(x + 4 * i * step)
        if value > best:
            best, found = value, i
    return found


@compiled(void(int64, int64, int64, int64, int64, int64))
def gather(x_at, x_step, length, index_at, y_at, count):
    """y[i] = x[index[i]] for i < ``count``, of ``length`` values of x; an index below 0 counts from the end.

    Whatever an index is, infinity or NaN too, nothing outside x is read: the nearest that there is takes its place.
    """
    index, y = floats(index_at, count), floats(y_at, count)
    last = np.float32(length - 1)
    for i in range(count):
        at = index[i]
        if at < np.float32(0.0):
            at += np.float32(length)
        at = min(at, last) if at > np.float32(0.0) else np.float32(0.0)
        y[i] = read(x_at + 4 * np.int64(at) * x_step)


@compiled(float32(int64, int64, int64), fastmath=FAST)
def _dot(a_at, b_at, count):
    a, b = floats(a_at, count), floats(b_at, count)
    result = np.float32(0.0)
    for i in range(count):
        result += a[i] * b[i]
    return result


def _tiles(rows, half):
    """The tile of `rows` rows, up to BLOCK_VECTORS vectors wide; or several beside each other, that are less wide.

    With fewer registers than AVX-512 has, the sums of several rows of so many vectors would not stay in them.
    """
    by_1, by_2, by_3, by_4 = (tile(rows, vectors, half) for vectors in (1, 2, 3, 4))
    most = BLOCK_VECTORS if has_avx512() else BLOCK_VECTORS // rows
    size = 2 if half else 4

    @compiled(void(int64, int64, int64, int64, int64, int64, int64, int64, int64))
    def tiles(wide, weights, pitch, x, step, row, y, out, depth):
        while wide > most:
            if most == 1:
                by_1(weights, pitch, x, step, row, y, out, depth)
            else:
                by_2(weights, pitch, x, step, row, y, out, depth)
            weights, y, wide = weights + size * VECTOR * most, y + 4 * VECTOR * most, wide - most
        if wide == 4:
            by_4(weights, pitch, x, step, row, y, out, depth)
        elif wide == 3:
            by_3(weights, pitch, x, step, row, y, out, depth)
        elif wide == 2:
            by_2(weights, pitch, x, step, row, y, out, depth)
        else:
            by_1(weights, pitch, x, step, row, y, out, depth)

    return tiles


_one = _tiles(1, False)


@compiled(void(int64, int64, int64, int64, int64))
def correlate(x, w, y, lags, taps):
    """y[l] = the sum of x[l + n] w[n] over n < ``taps``, for l < ``lags``; x holds ``lags`` + ``taps`` - 1 values.

    It is a product whose weights of each n are x from n on, so tiles do it: many lags at once. Their last one begins
    early enough to end with the last lag, and what it computes again has the same bits.
    """
    if lags < VECTOR:
        for lag in range(lags):
            write(y + 4 * lag, _dot(x + 4 * lag, w, taps))
        return
    begin = 0
    while begin < lags:
        wide = min(4, lags // VECTOR, (lags - begin + VECTOR - 1) // VECTOR)
        lag = min(begin, lags - VECTOR * wide)
        _one(wide, x + 4 * lag, 4, w, 4, 0, y + 4 * lag, 0, taps)
        begin = lag + VECTOR * wide


def _product(half):
    four, two, one = (_tiles(rows, half) for rows in (4, 2, 1))
    size = 2 if half else 4

    @compiled(void(int64, int64, int64, int64, int64, int64, int64, int64, int64))
    def product(weights, x, x_step, x_row, y, y_row, rows, depth, vectors):
        """y[r] = W x[r] for ``rows`` rows, the weights packed as `record_writer.pack` does it.

        Blocks of BLOCK_VECTORS × VECTOR outputs; in a block all weights of x[0], then those of x[1] and so on: they are
        read as they lie. Writes ``vectors`` × VECTOR values a row. One row or many: the same bits.
        """
        step, row, out = 4 * x_step, 4 * x_row, 4 * y_row
        begin = 0
        while begin < vectors:
            wide = min(BLOCK_VECTORS, vectors - begin)
            pitch = size * VECTOR * wide
            a, b, left = x, y + 4 * VECTOR * begin, rows
            while left >= 4:
                four(wide, weights, pitch, a, step, row, b, out, depth)
                a, b, left = a + 4 * row, b + 4 * out, left - 4
            if left >= 2:
                two(wide, weights, pitch, a, step, row, b, out, depth)
                a, b, left = a + 2 * row, b + 2 * out, left - 2
            if left:
                one(wide, weights, pitch, a, step, row, b, out, depth)
            weights += pitch * depth
            begin += wide

    return product


product = _product(False)
product_of_halves = _product(True) if widens_halves() else product  # never called where it is not what it says


@compiled(void(int64, int64, int64, float32, int64, int64), fastmath=FUSED)
def finish_product(kind, y_at, bias_at, slope, other_at, count):
    """What follows a product, in place: + bias, and then a PReLU of one ``slope``, or + what lies at ``other_at``."""
    y, bias = floats(y_at, count), floats(bias_at, count)
    if kind == WITH_BIAS:
        for i in range(count):
            y[i] += bias[i]
    elif kind == WITH_PRELU:
        for i in range(count):
            value = y[i] + bias[i]
            y[i] = value if value >= np.float32(0.0) else value * slope
    elif kind == WITH_SUM:
        other = floats(other_at, count)
        for i in range(count):
            y[i] = (y[i] + bias[i]) + other[i]


@compiled(void(int64, int64, int64, int64, float32, int64, int64, int64, int64, int64), fastmath=FUSED)
def depthwise(x_at, weights_at, bias_at, y_at, slope, history, dilation, reach, hop, count):
    """A causal dilated depthwise convolution, then a PReLU: newest x and what it was ``dilation``, 2 × ... hops ago.

    ``history`` is the ring of this layer, [reach × dilation, count]: x takes the place of its oldest row, in hop number
    ``hop``. ``weights`` is [reach + 1, count], oldest first.
    """
    x, y, bias = floats(x_at, count), floats(y_at, count), floats(bias_at, count)
    length = reach * dilation
    newest = history + 4 * count * (hop % length)
    if reach == 2:
        middle = floats(history + 4 * count * ((hop + dilation) % length), count)
        oldest, w = floats(newest, count), floats(weights_at, 3 * count)
        for i in range(count):
            past = oldest[i] * w[i] + middle[i] * w[count + i] + bias[i]
            value = x[i] * w[2 * count + i] + past
            y[i] = value if value >= np.float32(0.0) else value * slope
            oldest[i] = x[i] if abs(x[i]) >= TINY else np.float32(0.0)
        return
    for i in range(count):
        y[i] = bias[i]
    for tap in range(reach):
        row = floats(history + 4 * count * ((hop + tap * dilation) % length), count)
        w = floats(weights_at + 4 * count * tap, count)
        for i in range(count):
            y[i] += row[i] * w[i]
    w, row = floats(weights_at + 4 * count * reach, count), floats(newest, count)
    for i in range(count):
        value = x[i] * w[i] + y[i]
        y[i] = value if value >= np.float32(0.0) else value * slope
        row[i] = x[i] if abs(x[i]) >= TINY else np.float32(0.0)
