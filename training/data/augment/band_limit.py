"""Band limits of telephones, radios and bad microphones, as gains over frequency."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

USUAL = ((300.0, 3400.0), (200.0, 3400.0), (300.0, 3000.0), (50.0, 7000.0), (100.0, 4000.0))  # Hz, of real lines


def draw_bands(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper limits in Hz and orders, float64 `[count]` each: 80 to 600 Hz, 2.5 to 20 kHz, 1 to 12.

    A third are bands of real lines; of the others two thirds have a lower limit and two thirds an upper one.
    """
    low = rng.uniform(80, 600, count) * (rng.random(count) < 0.67)  # not by octaves: 300 Hz and more are what is hard
    high = np.where(rng.random(count) < 0.67, np.exp(rng.uniform(np.log(2500), np.log(20000), count)), 1e6)
    usual = np.array(USUAL)[rng.integers(len(USUAL), size=count)]
    line = rng.random(count) < 0.33
    return np.where(line, usual[:, 0], low), np.where(line, usual[:, 1], high), rng.integers(1, 13, count)


def band_gain(hertz: Tensor, low: np.ndarray, high: np.ndarray, order: np.ndarray) -> Tensor:
    """Butterworth magnitudes, linear, `[count, bins]` at `hertz` `[bins]`: −3 dB at `low` and `high` `[count]` Hz."""
    bottom, top, steep = (
        torch.from_numpy(np.asarray(values, np.float32)).to(hertz.device)[:, None] for values in (low, high, 2 * order)
    )
    # Far outside the band the powers overflow to infinity and the gain is the zero it should be.
    return torch.rsqrt((1 + (bottom / hertz.clamp(min=1e-3)) ** steep) * (1 + (hertz / top) ** steep))
