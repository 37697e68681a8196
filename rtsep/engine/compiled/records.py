"""A record: one kernel and what it works on, as a line of int64 numbers that `interpreter` reads.

An operand is an address and, beside it, the bytes from one row's to the next row's (0 for weights). Which words a kind
of record has is written where `interpreter` runs it.
"""

from __future__ import annotations

WORDS = 32
VECTOR = 16  # values in a vector of the product; LLVM makes of it what the processor has
BLOCK_VECTORS = 4  # the weights of so many vectors of outputs lie together

# Functions of BINARY and UNARY, and what follows a product.
ADD, SUBTRACT, MULTIPLY, DIVIDE, PRELU, MAXIMUM, MINIMUM = range(7)
COPY, SIGMOID, TANH, LOG, EXP, SQRT, RECIPROCAL, NEGATIVE, RELU, ABSOLUTE, ROUND, TRUNCATE = range(12)
PLAIN, WITH_BIAS, WITH_PRELU, WITH_SUM = range(4)

# Words of a context, by which `interpreter.run` knows all that a step consists of.
RECORDS, SEGMENTS, SEGMENT_COUNT, ROWS, RATE = range(5)

UNARY, BINARY, PRODUCT, NORM, DEPTHWISE, TOTAL, RECALL, KEEP, TAPS, COLUMN, UNLESS_PHASE, GO_TO = range(12)
LARGEST, GATHER, CORRELATE = range(12, 15)

# Words of a record.
KIND, FUNCTION = 0, 1
A, A_ROW, B, B_ROW, Y, Y_ROW = range(2, 8)
SIZES = 8  # of up to four axes, the last the innermost
COUNT = 11
A_STEPS, B_STEPS, Y_STEPS = 12, 16, 20  # an axis each
# of products, norms, convolutions and correlations
DEPTH, VECTORS, INNER_ROWS = 8, 9, 10
BIAS, SLOPE, OFFSET, DILATION, REACH = 24, 25, 26, 27, 28
HALF = 29  # whether a product's weights are float16
EPSILON = SLOPE
PHASE, TARGET = 8, 9

SEGMENT_WORDS = 3
ROW_WORDS = 2  # of the table of rows: the address of a stream's memory, and the number of the hop
