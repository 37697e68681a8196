"""What a sound that is handed over must be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import InputError


def checked_signal(block: NDArray[Any], channels: int, begin: int = 0) -> NDArray[np.float32]:
    """``block`` as float32; InputError unless it is float [samples, channels] and finite.

    begin: number of its first sample, for the message.
    """
    block = np.asarray(block)
    if block.dtype not in (np.float32, np.float64):
        raise InputError(f"The signal is {block.dtype}; convert it to float32 with full scale at 1.")
    if block.ndim != 2 or block.shape[1] != channels:
        raise InputError(f"The block has shape {list(block.shape)}; it must be [samples, {channels}].")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        signal = block.astype(np.float32)
    finite = np.isfinite(signal)
    if not finite.all():
        where = begin + int(np.argmin(finite.all(axis=1)))
        raise InputError(f"The signal has a sample that is not finite (number {where}); repair it first.")
    return signal
