"""Runs a program: its records one after the other, each over all rows; no allocation, no Python, no GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rtsep.engine.compiled import kernels as k
from rtsep.engine.compiled import records as w
from rtsep.engine.compiled.memory import floats, integers, read
from rtsep.engine.framing import settle

inlined: Any = njit(inline="always")  # compiled once, within `run`: that takes seconds


@inlined
def _elementwise(record_at, kind, begin, end):
    """UNARY, BINARY, TOTAL and LARGEST, over up to three outer axes and the innermost."""
    word = integers(record_at, w.WORDS)
    function, count = word[w.FUNCTION], word[w.COUNT]
    for row in range(begin, end):
        a, b = word[w.A] + row * word[w.A_ROW], word[w.B] + row * word[w.B_ROW]
        y = word[w.Y] + row * word[w.Y_ROW]
        for i in range(word[w.SIZES]):
            for j in range(word[w.SIZES + 1]):
                for m in range(word[w.SIZES + 2]):
                    at = i * word[w.A_STEPS] + j * word[w.A_STEPS + 1] + m * word[w.A_STEPS + 2]
                    bt = i * word[w.B_STEPS] + j * word[w.B_STEPS + 1] + m * word[w.B_STEPS + 2]
                    yt = i * word[w.Y_STEPS] + j * word[w.Y_STEPS + 1] + m * word[w.Y_STEPS + 2]
                    a_step, b_step, y_step = word[w.A_STEPS + 3], word[w.B_STEPS + 3], word[w.Y_STEPS + 3]
                    if kind == w.UNARY:
                        k.unary(function, a + 4 * at, a_step, y + 4 * yt, y_step, count)
                    elif kind == w.BINARY:
                        k.binary(function, a + 4 * at, a_step, b + 4 * bt, b_step, y + 4 * yt, y_step, count)
                    elif kind == w.TOTAL:
                        k.write(y + 4 * yt, k.total(a + 4 * at, a_step, count))
                    else:
                        k.write(y + 4 * yt, np.float32(k.largest(a + 4 * at, a_step, count)))


@inlined
def _product(record_at, begin, end):
    word = integers(record_at, w.WORDS)
    depth, vectors, inner = word[w.DEPTH], word[w.VECTORS], word[w.INNER_ROWS]
    x, x_row, y, y_row = word[w.A], word[w.A_ROW], word[w.Y], word[w.Y_ROW]
    x_step, x_inner, y_inner, count = word[w.A_STEPS + 3], word[w.A_STEPS + 2], word[w.Y_STEPS + 2], word[w.COUNT]
    x_at, y_at = x + begin * x_row, y + begin * y_row
    # Weights are read once for all rows that go together, so those of the longer axis do: of the run, or within a row.
    times, x_next, y_next = inner, 4 * x_inner, 4 * y_inner
    x_stride, y_stride, together = x_row // 4, y_row // 4, end - begin
    if inner > end - begin:
        times, x_next, y_next, together = end - begin, x_row, y_row, inner
        x_stride, y_stride = x_inner, y_inner
    for _ in range(times):
        if word[w.HALF]:
            k.product_of_halves(word[w.B], x_at, x_step, x_stride, y_at, y_stride, together, depth, vectors)
        else:
            k.product(word[w.B], x_at, x_step, x_stride, y_at, y_stride, together, depth, vectors)
        x_at, y_at = x_at + x_next, y_at + y_next
    if word[w.FUNCTION] != w.PLAIN:
        slope = read(word[w.SLOPE])
        for row in range(begin, end):
            other = word[w.OFFSET] + row * word[w.B_ROW]
            for i in range(inner):
                at = y + row * y_row + 4 * i * y_inner
                k.finish_product(word[w.FUNCTION], at, word[w.BIAS], slope, other, count)


@inlined
def _norm(record_at, begin, end):
    word = integers(record_at, w.WORDS)
    epsilon = read(word[w.EPSILON])
    for row in range(begin, end):
        x, y = word[w.A] + row * word[w.A_ROW], word[w.Y] + row * word[w.Y_ROW]
        for i in range(word[w.INNER_ROWS]):
            at, to = x + 4 * i * word[w.A_STEPS + 2], y + 4 * i * word[w.Y_STEPS + 2]
            k.layer_norm(at, word[w.B], word[w.OFFSET], to, word[w.COUNT], epsilon)


@inlined
def _depthwise(record_at, rows_at, begin, end):
    word = integers(record_at, w.WORDS)
    slope = read(word[w.SLOPE])
    for row in range(begin, end):
        stream = integers(rows_at + 8 * w.ROW_WORDS * row, w.ROW_WORDS)
        x, y = word[w.A] + row * word[w.A_ROW], word[w.Y] + row * word[w.Y_ROW]
        ring = stream[0] + 4 * word[w.OFFSET]
        k.depthwise(
            *(x, word[w.B], word[w.BIAS], y, slope, ring),
            *(word[w.DILATION], word[w.REACH], stream[1], word[w.COUNT]),
        )


@inlined
def _gather(record_at, begin, end):
    word = integers(record_at, w.WORDS)
    for row in range(begin, end):
        x, index = word[w.A] + row * word[w.A_ROW], word[w.B] + row * word[w.B_ROW]
        y = word[w.Y] + row * word[w.Y_ROW]
        k.gather(x, word[w.A_STEPS + 3], word[w.DEPTH], index, y, word[w.COUNT])


@inlined
def _correlate(record_at, begin, end):
    word = integers(record_at, w.WORDS)
    for row in range(begin, end):
        x, taps = word[w.A] + row * word[w.A_ROW], word[w.B] + row * word[w.B_ROW]
        k.correlate(x, taps, word[w.Y] + row * word[w.Y_ROW], word[w.COUNT], word[w.DEPTH])


@inlined
def _memory(record_at, kind, rows_at, begin, end):
    """RECALL and KEEP a part of the stream's memory; TAPS out of a layer's ring, or a COLUMN into it."""
    word = integers(record_at, w.WORDS)
    count, reach, dilation = word[w.COUNT], word[w.REACH], word[w.DILATION]
    for row in range(begin, end):
        stream = integers(rows_at + 8 * w.ROW_WORDS * row, w.ROW_WORDS)
        kept, here = stream[0] + 4 * word[w.OFFSET], word[w.A] + row * word[w.A_ROW]
        if kind == w.RECALL:
            k.unary(w.COPY, kept, 1, here, 1, count)
        elif kind == w.KEEP:
            k.unary(w.COPY, here, 1, kept, 1, count)
            settle(floats(kept, count))
        elif kind == w.TAPS:
            for tap in range(reach):
                ring_row = (stream[1] + tap * dilation) % (reach * dilation)
                k.unary(w.COPY, kept + 4 * count * ring_row, 1, here + 4 * count * tap, 1, count)
        else:
            newest = kept + 4 * count * (stream[1] % (reach * dilation))
            k.unary(w.COPY, here, 1, newest, 1, count)
            settle(floats(newest, count))


@inlined
def execute(records_at, first, after, rows_at, begin, end, rate):
    """Records ``first`` to ``after`` for rows ``begin`` to ``end``; those that branch, for rows in the same phase."""
    at = first
    while at < after:
        record_at = records_at + 8 * w.WORDS * at
        word = integers(record_at, w.WORDS)
        kind = word[w.KIND]
        at += 1
        if kind == w.PRODUCT:
            _product(record_at, begin, end)
        elif kind == w.DEPTHWISE:
            _depthwise(record_at, rows_at, begin, end)
        elif kind == w.NORM:
            _norm(record_at, begin, end)
        elif kind == w.UNARY or kind == w.BINARY or kind == w.TOTAL or kind == w.LARGEST:
            _elementwise(record_at, kind, begin, end)
        elif kind == w.UNLESS_PHASE:
            stream = integers(rows_at + 8 * w.ROW_WORDS * begin, w.ROW_WORDS)
            if stream[1] % rate != word[w.PHASE]:
                at = word[w.TARGET]
        elif kind == w.GO_TO:
            at = word[w.TARGET]
        elif kind == w.CORRELATE:
            _correlate(record_at, begin, end)
        elif kind == w.GATHER:
            _gather(record_at, begin, end)
        else:
            _memory(record_at, kind, rows_at, begin, end)


@inlined
def _alike(rows_at, row, rows, rate):
    """The row after those, from ``row`` on, that are hops of different streams in the same phase."""
    table = integers(rows_at, w.ROW_WORDS * rows)
    after = row + 1
    while (
        after < rows
        and table[w.ROW_WORDS * after] != table[w.ROW_WORDS * (after - 1)]
        and table[w.ROW_WORDS * after + 1] % rate == table[w.ROW_WORDS * row + 1] % rate
    ):
        after += 1
    return after


def run(context_at, rows):
    """One hop of ``rows`` rows, of which those of a stream lie together.

    What goes from row to row of a stream, a recurrent state say, goes in the order of the rows.
    """
    context = integers(context_at, 5)
    for segment in range(context[w.SEGMENT_COUNT]):
        part = integers(context[w.SEGMENTS] + 8 * w.SEGMENT_WORDS * segment, w.SEGMENT_WORDS)
        row = 0
        while row < rows:
            after = rows
            if part[2]:
                after = _alike(context[w.ROWS], row, rows, context[w.RATE])
            execute(context[w.RECORDS], part[0], part[1], context[w.ROWS], row, after, context[w.RATE])
            row = after
