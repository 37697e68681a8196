"""How loud a recording is, as people hear it: ITU-R BS.1770-4, for one or two channels at 48 kHz."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numba import float32, float64, void
from numpy.typing import NDArray

from rtsep.engine.numba_cache import compiled

RATE = 48000  # Hz, which the standard gives the filters for
PIECE = RATE // 10  # samples: blocks of 400 ms begin every 100 ms
_PIECES = 4  # in a block
_SILENCE, _BELOW = -70.0, 10.0  # LUFS, and LU below what is left: quieter blocks do not count
# The filters of tables 1 and 2: the head as a shelf, then a high-pass. Numerator, then denominator without its 1.
_SHELF = (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
_HIGH_PASS = (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621)
_FILTERS = np.array([_SHELF, _HIGH_PASS])


@compiled(void(float32[:, :], float64[:, :], float64[:, :, :], float64[:]))
def _add_power(sound, filters, state, power):
    """Filter [n, channels] and add up the squares a channel. state: [channels, filters, 2], of the piece before."""
    for channel in range(sound.shape[1]):
        for i in range(sound.shape[0]):
            value = float(sound[i, channel])
            for k in range(filters.shape[0]):  # direct form II, transposed
                result = filters[k, 0] * value + state[channel, k, 0]
                state[channel, k, 0] = filters[k, 1] * value - filters[k, 3] * result + state[channel, k, 1]
                state[channel, k, 1] = filters[k, 2] * value - filters[k, 4] * result
                value = result
            power[channel] += value * value


def loudness(pieces: Iterable[NDArray[np.float32]]) -> float:
    """Integrated loudness in LUFS; -inf for silence, and for less than 400 ms.

    pieces: float32 [PIECE, channels] one after another; a shorter one at the end does not count.
    """
    powers, state = [], np.zeros((2, len(_FILTERS), 2))
    for piece in pieces:
        if len(piece) == PIECE:
            power = np.zeros(piece.shape[1])
            _add_power(np.array(piece), _FILTERS, state, power)
            powers.append(power.sum() / PIECE)
    if len(powers) < _PIECES:
        return -math.inf
    blocks = np.convolve(powers, np.full(_PIECES, 1 / _PIECES), "valid")
    loud = blocks[blocks > _power(_SILENCE)]
    if not len(loud):
        return -math.inf
    return _lufs(float(loud[loud > _power(_lufs(float(loud.mean())) - _BELOW)].mean()))


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
