"""The C functions of `stream`, as Numba compiles them: the kernels of `framing` and `polyphase` over memory by address.

``context`` has the words of `stream_words`.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from rtsep.engine import stream_words as w
from rtsep.engine.compiled.memory import floats, integers, pointer_to_doubles, pointer_to_floats, pointer_to_integers
from rtsep.engine.framing import gather, mix, overlap_add, push, scatter, settle, take
from rtsep.engine.polyphase import convolve


def take_block(context, wide, count, at):
    """``framing.take`` of what was staged, ``wide`` as float64, into the ring of the input."""
    word = integers(context, w.WORDS)
    shape = (count, word[w.CHANNELS])
    ring = carray(pointer_to_floats(word[w.INPUT]), (word[w.CHANNELS], word[w.INPUT_LENGTH]))
    if wide:
        take(carray(pointer_to_doubles(word[w.WIDE_STAGE]), shape), count, ring, word[w.INPUT_LENGTH] - 1, at)
    else:
        take(carray(pointer_to_floats(word[w.STAGE]), shape), count, ring, word[w.INPUT_LENGTH] - 1, at)


def bring_in(context, first, count):
    """Samples of the input, ``polyphase.convolve``d to the model's rate."""
    word = integers(context, w.WORDS)
    source = carray(pointer_to_floats(word[w.INPUT]), (word[w.CHANNELS], word[w.INPUT_LENGTH]))
    heard = carray(pointer_to_floats(word[w.HEARD]), (word[w.ROWS], word[w.HEARD_LENGTH]))
    way = integers(context + 8 * w.INWARD, w.WAY_WORDS)
    table = carray(pointer_to_floats(way[w.TABLE]), (way[w.PHASES] + 1, way[w.TAPS]))
    scratch = floats(word[w.SCRATCH], word[w.SCRATCH_LENGTH])
    convolve(
        *(source, word[w.INPUT_LENGTH] - 1, table, way[w.BEFORE], way[w.UP], way[w.DOWN]),
        *(first, count, scratch, heard, first, word[w.HEARD_LENGTH] - 1),
    )


def bring_out(context, source, first, count):
    """What the model made of a source, ``polyphase.convolve``d to the stream's rate."""
    word = integers(context, w.WORDS)
    rows, length = word[w.ROWS], word[w.MADE_LENGTH]
    made = carray(pointer_to_floats(word[w.MADE] + 4 * source * rows * length), (rows, length))
    wet = carray(pointer_to_floats(word[w.WET]), (rows, word[w.CHUNK]))
    way = integers(context + 8 * w.OUTWARD, w.WAY_WORDS)
    table = carray(pointer_to_floats(way[w.TABLE]), (way[w.PHASES] + 1, way[w.TAPS]))
    scratch = floats(word[w.SCRATCH], word[w.SCRATCH_LENGTH])
    convolve(
        *(made, length - 1, table, way[w.BEFORE], way[w.UP], way[w.DOWN]),
        *(first, count, scratch, wet, 0, w.NO_MASK),
    )


def mix_out(context, first, count):
    """``framing.mix`` of the wet and the dry signal."""
    word = integers(context, w.WORDS)
    channels, chunk = word[w.CHANNELS], word[w.CHUNK]
    wet = carray(pointer_to_floats(word[w.WET]), (channels, chunk))
    dry = carray(pointer_to_floats(word[w.INPUT]), (channels, word[w.INPUT_LENGTH]))
    gain = carray(pointer_to_doubles(word[w.GAIN]), (4,))
    mixed = carray(pointer_to_floats(word[w.MIXED]), (chunk, channels))
    mix(wet, count, dry, word[w.INPUT_LENGTH] - 1, first, gain, mixed)


def copy_windows(context, windows, length, hops, hop, end):
    """``framing.push`` of the windows that end at ``end``, ``end`` + ``hop`` and so on, [hops, rows, length]."""
    word = integers(context, w.WORDS)
    rows, heard_length = word[w.ROWS], word[w.HEARD_LENGTH]
    heard = carray(pointer_to_floats(word[w.HEARD]), (rows, heard_length))
    for number in range(hops):
        window = carray(pointer_to_floats(windows + 4 * number * rows * length), (rows, length))
        push(heard, heard_length - 1, end + number * hop, window)


def add_frames(context, source, sources, frames, stride, hops, hop, channels, width, row, begin):
    """``framing.overlap_add`` of frames [hops, sources, channels, width], each hop's ``stride`` bytes after the last.

    source, row: where the first source and channel go. begin: position of the first frame.
    """
    word = integers(context, w.WORDS)
    rows, length = word[w.ROWS], word[w.MADE_LENGTH]
    made = carray(pointer_to_floats(word[w.MADE] + 4 * source * rows * length), (sources, rows, length))
    for number in range(hops):
        frame = carray(pointer_to_floats(frames + number * stride), (sources, channels, width))
        overlap_add(frame, begin + number * hop, hop, made, length - 1, row)


def gather_taps(context, time):
    """``framing.gather`` over the memory of a step graph."""
    word = integers(context, w.HISTORY_WORDS)
    layers, reach, hidden = word[w.LAYERS], word[w.REACH], word[w.HIDDEN]
    gather(
        carray(pointer_to_floats(word[w.HISTORY]), (word[w.HISTORY_ROWS], hidden)),
        carray(pointer_to_integers(word[w.DILATIONS]), (layers,)),
        carray(pointer_to_integers(word[w.STARTS]), (layers,)),
        time,
        carray(pointer_to_floats(word[w.TAPPED]), (layers, reach, hidden)),
    )


def scatter_column(context, time):
    """``framing.scatter`` over it."""
    word = integers(context, w.HISTORY_WORDS)
    layers, reach, hidden = word[w.LAYERS], word[w.REACH], word[w.HIDDEN]
    scatter(
        carray(pointer_to_floats(word[w.HISTORY]), (word[w.HISTORY_ROWS], hidden)),
        carray(pointer_to_integers(word[w.DILATIONS]), (layers,)),
        carray(pointer_to_integers(word[w.STARTS]), (layers,)),
        time,
        reach,
        carray(pointer_to_floats(word[w.COLUMN]), (layers, hidden)),
    )


def settle_state(state, count):
    """``framing.settle`` of a state by its address."""
    settle(floats(state, count))


def turn_down(state, line, line_length, block, channels, count):
    """A gate: ``block`` [count, channels], BACK samples later, times the gain on its way to open or shut, in place."""
    s = carray(pointer_to_doubles(state), (w.GATE_WORDS,))
    memory = carray(pointer_to_floats(line), (channels, line_length))
    sound = carray(pointer_to_floats(block), (count, channels))
    mask = line_length - 1
    at, back = int(s[w.GATE_AT]), int(s[w.GATE_BACK])
    for i in range(count):
        if s[w.GATE_OPEN] == 1.0:
            s[w.GATE_GAIN] = min(1.0, s[w.GATE_GAIN] + s[w.GATE_UP])
        else:
            s[w.GATE_GAIN] = max(s[w.GATE_FLOOR], s[w.GATE_GAIN] * s[w.GATE_DOWN])
        for channel in range(channels):
            memory[channel, (at + i) & mask] = sound[i, channel]
            sound[i, channel] = np.float32(memory[channel, (at + i - back) & mask] * s[w.GATE_GAIN])
    s[w.GATE_AT] = at + count
