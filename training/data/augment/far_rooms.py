"""Far talkers: impulse responses of large or empty rooms by Polack's statistical model (1988)."""

from __future__ import annotations

import numpy as np


def far_rooms(count: int, rate: int, seed: int, seconds: float = 1.0) -> np.ndarray:
    """Impulse responses, float32 `[count, seconds * rate]`, direct sound at sample 0 with unit gain.

    Gaussian noise that dies away exponentially: reverberation time 0.3 to 1.3 s, falling by half at 10 kHz; direct to
    reverberant ratio −8 to 6 dB; the first reflection after 2 to 15 ms.
    """
    rng = np.random.default_rng((seed, 7919))
    samples = round(seconds * rate)
    time = np.arange(samples) / rate
    responses = np.zeros((count, samples), np.float32)
    for response in responses:
        reverberation, ratio, gap = rng.uniform(0.3, 1.3), rng.uniform(-8, 6), rng.uniform(0.002, 0.015)
        tail = np.zeros(samples)
        # Three bands, each with a decay of its own: air and curtains take the treble first.
        spectrum = np.fft.rfft(rng.standard_normal(samples))
        hertz = np.arange(len(spectrum)) * (rate / samples)
        for low, high, share in ((0, 1500, 1.0), (1500, 6000, 0.8), (6000, 1e9, 0.5)):
            band = np.fft.irfft(spectrum * ((hertz >= low) & (hertz < high)), samples)
            tail += band * 10 ** (-3 * time / (reverberation * share))
        tail *= (time > gap) * np.clip((time[-1] - time) / (seconds / 8), 0, 1)
        response[:] = tail * (10 ** (-ratio / 20) / np.sqrt(np.square(tail).sum()))
        response[0] = 1.0
    return responses
