"""What a record does to a voice, and to all of it: compression, echoes, places between left and right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float64]


def compressor_gain(sound: Samples, rate: int, threshold_db: float, ratio: float, release_s: float) -> Samples:
    """A gain a sample for `[samples]`, 1 below the threshold (dB of the RMS over 10 ms); it rises by `release_s`."""
    size = rate // 100
    count = -(-len(sound) // size)
    power = np.square(np.pad(sound, (0, count * size - len(sound)))).reshape(count, size).mean(1)
    over = np.maximum(0.0, 10 * np.log10(power + 1e-12) - threshold_db) * (1 - 1 / ratio)
    keep, held = np.exp(-0.01 / release_s), 0.0
    for index, now in enumerate(over):
        held = over[index] = max(float(now), held * keep)
    return np.interp(np.arange(len(sound)), (np.arange(count) + 0.5) * size, 10 ** (-over / 20))


def compressed(sound: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """A voice `[samples]` as an engineer would even it out, as loud as before."""
    level = np.sqrt(np.square(sound).mean() + 1e-12)
    threshold = 20 * np.log10(level) + rng.uniform(-12, 3)
    made = sound * compressor_gain(sound, rate, threshold, rng.uniform(2, 6), rng.uniform(0.05, 0.3))
    return made * (level / np.sqrt(np.square(made).mean() + 1e-12))


def echoes(sound: Samples, rate: int, beat_s: float, rng: np.random.Generator) -> Samples:
    """`[samples, 2]` and repeats of it a part of a beat apart, by turns left and right, each duller and softer."""
    made = sound.copy()
    step = round(beat_s * rng.choice([0.5, 0.75, 1.0]) * rate)
    dull = np.hanning(rate // rng.integers(2500, 8000))
    repeat, gain = sound.mean(1), 10 ** (rng.uniform(-18, -8) / 20)
    for number in range(3):
        repeat = np.convolve(repeat, dull / dull.sum(), "same") * (gain if number == 0 else 0.5)
        late = np.pad(repeat, (step * (number + 1), 0))[: len(sound)]
        made += late[:, None] * np.array([1.0, 0.3] if number % 2 else [0.3, 1.0])
    return made


def panned(sound: Samples, place: float) -> Samples:
    """`[samples]` between left (−1) and right (1), `[samples, 2]`, of the same power wherever; 0 is as it was."""
    angle = (place + 1) * np.pi / 4
    return np.sqrt(2) * sound[:, None] * np.array([np.cos(angle), np.sin(angle)])


def active_rms(sound: Samples, rate: int) -> float:
    """RMS of the frames of 0.1 s within 30 dB of the loudest, `[samples]` or all of `[samples, channels]`."""
    size = rate // 10
    count = max(1, len(sound) // size)
    power = np.square(sound[: count * size]).reshape(count, -1).mean(1)
    return float(np.sqrt(power[power >= power.max() / 1000].mean()))
