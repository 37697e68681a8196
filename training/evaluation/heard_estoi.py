"""ESTOI of those bands alone in which the reference can be heard.

ESTOI (Jensen and Taal, IEEE TASLP 24(11), 2016) gives every band the same weight, however soft: a telephone's line
takes the lowest bands 40 to 60 dB down, a steep high-pass 80 dB, and they count like all others. What a tool leaves
there nobody hears. Here bands more than `FLOOR` dB under the loudest one of the reference are left out; steps and
constants are those of pystoi, and without a floor the value is pystoi's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.evaluation.speech_metrics import WIDE_RATE, resample

FLOOR = 40.0  # dB
RATE, FRAME, BINS, BANDS, LOWEST_HZ = 10_000, 256, 512, 15, 150  # of ESTOI: Hz, samples, samples, bands, Hz
SEGMENT, DYNAMIC_RANGE = 30, 40  # frames, dB


def heard_estoi(reference: ArrayLike, estimate: ArrayLike, rate: float, floor: float = FLOOR) -> float:
    """Of signals `[samples]` of one length at `rate` Hz: 1 for the reference itself, about 0 for what has none of it.

    NaN for a silent reference and for less than 30 frames of speech.
    """
    from pystoi import utils

    # By way of 16 kHz, as `speech_metrics.stoi`.
    wide = (resample(np.asarray(x, np.float64), rate, WIDE_RATE) for x in (reference, estimate))
    x, y = (utils.resample_oct(sound, RATE, WIDE_RATE) for sound in wide)
    if not x.any() or len(x) < (SEGMENT + 1) * FRAME // 2:
        return math.nan
    x, y = utils.remove_silent_frames(x, y, DYNAMIC_RANGE, FRAME, FRAME // 2)
    if len(x) < (SEGMENT + 1) * FRAME // 2:
        return math.nan
    bands = utils.thirdoct(RATE, BINS, BANDS, LOWEST_HZ)[0]
    x, y = (np.sqrt(bands @ np.square(np.abs(utils.stft(sound, FRAME, BINS, overlap=2).T))) for sound in (x, y))
    if x.shape[1] < SEGMENT:
        return math.nan
    power = np.square(x).mean(1)
    heard = power >= power.max() * 10 ** (-floor / 10)
    x, y = (utils.row_col_normalize(_segments(sound[heard])) for sound in (x, y))
    return float(np.sum(x * y) / SEGMENT / len(x))


def _segments(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[bands, frames]` → `[segments, bands, SEGMENT]`, one a frame."""
    return np.lib.stride_tricks.sliding_window_view(bands, SEGMENT, axis=1).transpose(1, 0, 2)
