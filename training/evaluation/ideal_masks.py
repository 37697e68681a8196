"""Ideal masks: what any mask on this short-time spectrum could reach at best, made from the true stems.

Unless another is asked for, an STFT of 4096 samples (85 ms at 48 kHz), Hann, hop 1024, one mask a channel; that is far
longer than what a live method may use, so these are bounds and no rivals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]

WINDOW, HOP = 4096, 1024


def ideal_mask(
    vocals: Audio, accompaniment: Audio, ratio: bool, window: int = WINDOW, hop: int = HOP, shape: str = "hann"
) -> Audio:
    """The accompaniment `[samples, channels]` that an ideal mask takes out of the sum of both stems.

    `window` and `hop` in samples, `shape` as `scipy.signal.get_window` calls it, of analysis and synthesis alike.

    ratio: the share of the accompaniment's power in every bin (ideal ratio mask, the Wiener gain); otherwise 1 where
    the accompaniment is louder and 0 elsewhere (ideal binary mask).
    Wang, "On ideal binary mask as the computational goal of auditory scene analysis", 2005; Vincent, Gribonval,
    Plumbley, "Oracle estimators for the benchmarking of source separation algorithms", Signal Processing 87, 2007.
    """
    from scipy.signal import istft, stft

    result = np.zeros_like(accompaniment)
    for channel in range(accompaniment.shape[1]):
        voice, band = (
            stft(x[:, channel], window=shape, nperseg=window, noverlap=window - hop)[2].astype(np.complex64)
            for x in (vocals, accompaniment)
        )
        v, a = np.abs(voice) ** 2, np.abs(band) ** 2
        mask = a / np.maximum(a + v, np.float32(1e-30)) if ratio else (a > v).astype(np.float32)
        sound = istft(mask * (voice + band), window=shape, nperseg=window, noverlap=window - hop)[1]
        result[:, channel] = np.pad(sound, (0, max(0, len(result) - len(sound))))[: len(result)]
    return result
