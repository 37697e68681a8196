"""FastICA on blocks of a whole song, the offline counterpart of the stream's ICA: scikit-learn finds the components.

Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE TNN 10(3), 1999.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.baselines.ica import without_middle
from rtsep.errors import InputError, RtsepError

BLOCK_S = 10.0
QUIET = 1e-10  # mean square of a block of which nothing can be learned


def fast_ica(x: NDArray[Any], sample_rate: int, block_s: float = BLOCK_S) -> NDArray[np.float32]:
    """The accompaniment in ``x`` [samples, 2], aligned with it: the component nearest to the middle removed.

    Blocks of ``block_s`` seconds overlap by half and are joined by Hann windows; the components are those of the
    differences of samples, and the voice is told by the same rule as in the stream (``ica.without_middle``).
    Raises InputError for anything but two channels, RtsepError without scikit-learn.
    """
    try:
        from sklearn.decomposition import FastICA
    except ModuleNotFoundError:
        raise RtsepError('FastICA needs scikit-learn; install it with: pip install "rtsep[bench]".') from None
    signal = np.asarray(x, np.float64)
    if signal.ndim != 2 or signal.shape[1] != 2:
        raise InputError(f"FastICA needs [samples, 2], not {list(signal.shape)}.")
    half = max(1, round(block_s * sample_rate / 2))
    padded = np.pad(signal, ((half, 2 * half), (0, 0)))
    window = np.sin(np.pi * (np.arange(2 * half) + 0.5) / (2 * half)) ** 2
    result = np.zeros_like(padded)
    removal = np.eye(2)
    for begin in range(0, len(signal) + half, half):
        block = padded[begin : begin + 2 * half]
        learned = np.diff(block, axis=0)
        if np.mean(learned**2) > QUIET and np.linalg.cond(learned.T @ learned) < 1e9:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a block that does not converge still has a best guess
                ica = FastICA(2, whiten="unit-variance", fun="logcosh", random_state=0, max_iter=100).fit(learned)
            removal = without_middle(ica.components_)
        result[begin : begin + 2 * half] += window[:, None] * (block @ removal.T)
    return result[half : half + len(signal)].astype(np.float32)
