"""The C functions of `engine_stream`, as Numba compiles them: what is done before and after the engine."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from rtsep.engine import engine_stream_words as e
from rtsep.engine import stream_kernels
from rtsep.engine import stream_words as w
from rtsep.engine.compiled.memory import call_streams, floats, integers, pointer_to_floats, pointer_to_shorts
from rtsep.engine.compiled.streams import CHANNELS, HOP
from rtsep.engine.compiled.streams import WORDS as STREAMS_WORDS

_FULL_SCALE = np.float32(32768.0)
_take_block, _bring_in, _bring_out, _mix_out = (
    njit(error_model="numpy")(function)
    for function in (
        stream_kernels.take_block,
        stream_kernels.bring_in,
        stream_kernels.bring_out,
        stream_kernels.mix_out,
    )
)


@njit(error_model="numpy")
def _decode(piece, word, count):
    """The next samples of a message, as they were sent, to the stage of its stream."""
    channels = word[w.CHANNELS]
    stage = floats(word[w.STAGE], count * channels)
    if piece[e.SIXTEEN_BITS] != 0:
        short = carray(pointer_to_shorts(piece[e.SOURCE]), (count * channels,))
        for i in range(count * channels):
            stage[i] = np.float32(short[i]) / _FULL_SCALE
    else:
        sent = floats(piece[e.SOURCE], count * channels)
        for i in range(count * channels):
            stage[i] = sent[i]


@njit(error_model="numpy")
def _encode(piece, word, count):
    """What was mixed, as the client wants it."""
    channels = word[w.CHANNELS]
    mixed = floats(word[w.MIXED], count * channels)
    if piece[e.SIXTEEN_BITS] != 0:
        short = carray(pointer_to_shorts(piece[e.TARGET]), (count * channels,))
        for i in range(count * channels):
            value = np.rint(mixed[i] * _FULL_SCALE)
            short[i] = np.int16(max(-_FULL_SCALE, min(_FULL_SCALE - np.float32(1.0), value)))
    else:
        out = floats(piece[e.TARGET], count * channels)
        for i in range(count * channels):
            out[i] = mixed[i]


@njit(error_model="numpy")
def _put(table, pieces, order, sound):
    """Take the beginning of each message; the hops that are complete go to ``sound`` [rows, hop, channels of the model]
    and the places that they are of to ``order`` [rows]. How many rows that makes.
    """
    rows = 0
    for number in range(pieces):
        piece = integers(table + 8 * e.PIECE_WORDS * number, e.PIECE_WORDS)
        word = integers(piece[e.CONTEXT], e.WORDS)
        hop, own, up, down = word[e.HOP], word[e.OWN_CHANNELS], word[w.INWARD + w.UP], word[w.INWARD + w.DOWN]
        needed = ((word[e.HOPS] + e.TOGETHER) * hop - 1) * down // up + word[e.AFTER] + 1
        count = min(piece[e.LEFT], word[w.CHUNK], needed - word[e.TAKEN])
        _decode(piece, word, count)
        _take_block(piece[e.CONTEXT], 0, count, word[e.TAKEN])
        word[e.TAKEN] += count
        ready = max(0, -((word[e.AFTER] - word[e.TAKEN]) * up // down))
        if ready > word[e.FED]:
            _bring_in(piece[e.CONTEXT], word[e.FED], ready - word[e.FED])
            word[e.FED] = ready
        hops = word[e.FED] // hop - word[e.HOPS]
        piece[e.COUNT], piece[e.NEW_HOPS], piece[e.FIRST_ROW] = count, hops, rows
        length = word[w.HEARD_LENGTH]
        heard = carray(pointer_to_floats(word[w.HEARD]), (word[w.ROWS], length))
        streams = word[w.ROWS] // own
        places = integers(word[e.PLACES], streams)
        for stream in range(streams):
            for new in range(hops):
                integers(order, rows + 1)[rows] = places[stream]
                row = carray(pointer_to_floats(sound + 4 * rows * hop * own), (hop, own))
                begin = (word[e.HOPS] + new) * hop
                for c in range(own):
                    for i in range(hop):
                        row[i, c] = heard[stream * own + c, (begin + i) & (length - 1)]
                rows += 1
    return rows


@njit(error_model="numpy")
def _get(table, pieces, made):
    """What comes out for what was put in last, given its rows as the engine made them, to where the answer goes."""
    for number in range(pieces):
        piece = integers(table + 8 * e.PIECE_WORDS * number, e.PIECE_WORDS)
        word = integers(piece[e.CONTEXT], e.WORDS)
        hop, own, rows, length = word[e.HOP], word[e.OWN_CHANNELS], word[w.ROWS], word[w.MADE_LENGTH]
        ring = carray(pointer_to_floats(word[w.MADE] + 4 * word[e.OWN_SOURCE] * rows * length), (rows, length))
        hops, row = piece[e.NEW_HOPS], piece[e.FIRST_ROW]
        for stream in range(rows // own):
            for new in range(hops):
                begin = (word[e.HOPS] + new + 1) * hop - word[e.DELAY]
                frame = carray(pointer_to_floats(made + 4 * row * hop * own), (hop, own))
                for c in range(own):
                    for i in range(hop):
                        ring[stream * own + c, (begin + i) & (length - 1)] = frame[i, c]
                row += 1
        word[e.HOPS] += hops
        count = piece[e.COUNT]
        first = word[e.TAKEN] - count - word[e.LATENCY]
        _bring_out(piece[e.CONTEXT], word[e.OWN_SOURCE], first, count)
        if rows > word[w.CHANNELS]:  # one channel went in as several: their mean comes out
            wet = carray(pointer_to_floats(word[w.WET]), (rows, word[w.CHUNK]))
            for i in range(count):
                for c in range(1, rows):
                    wet[0, i] += wet[c, i]
                wet[0, i] /= np.float32(rows)
        _mix_out(piece[e.CONTEXT], first, count)
        _encode(piece, word, count)
        size = count * word[w.CHANNELS] * (2 if piece[e.SIXTEEN_BITS] != 0 else 4)
        piece[e.SOURCE] += size
        piece[e.TARGET] += size
        piece[e.LEFT] -= count


def run_round(table, pieces, order, sound, step, context, most):
    """``_put``, the engine's C function ``step`` with at most so many rows at once, and ``_get``; how many rows."""
    rows = _put(table, pieces, order, sound)
    hop, channels = integers(context, STREAMS_WORDS)[HOP], integers(context, STREAMS_WORDS)[CHANNELS]
    for begin in range(0, rows, most):
        count = min(most, rows - begin)
        call_streams(step, context, count, order + 8 * begin, sound + 4 * begin * hop * channels)
    _get(table, pieces, sound)
    return rows
