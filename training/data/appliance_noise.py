"""Noise of things that stand on desks, made by rule: fans, keyboards, the mains.

Each family draws one sound, `[samples]`, of any level; `generated` of synthetic_noise.py brings them to unit
RMS.
"""

from __future__ import annotations

import numpy as np

from training.data.tonal_noise import resonant, tone


def fan(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """A laptop's or computer's fan: steady air with its own colour, and a few weak tones of the blades."""
    centres = np.exp(rng.uniform(np.log(80), np.log(9000), 4))
    air = resonant(
        rng.standard_normal(samples, dtype=np.float32),
        rate,
        [(float(centre), float(width)) for centre, width in zip(centres, rng.uniform(0.3, 2.5, 4), strict=True)],
        floor=0.02,
    )
    spectrum = np.fft.rfft(air)
    hertz = np.arange(len(spectrum)) * (rate / samples)
    spectrum /= np.sqrt(1 + (hertz / rng.uniform(200, 4000)) ** rng.uniform(0.5, 3))
    air = np.fft.irfft(spectrum, samples).astype(np.float32)
    air /= air.std() + 1e-9
    blades = np.exp(rng.uniform(np.log(80), np.log(1500)))
    slow = np.interp(np.arange(samples), np.linspace(0, samples, 6), rng.uniform(-1, 1, 6)) * rng.uniform(0, 0.01)
    levels = 10 ** (-rng.uniform(0, 25, int(rng.integers(1, 8))) / 20)
    tones = tone(blades * (1 + slow), rate, levels, rng)
    return air + tones * (10 ** (rng.uniform(-30, 0) / 20) / (tones.std() + 1e-9))


def keyboard(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Typing: 2 to 12 keys a second, each a click down and a softer one up 40 to 150 ms later; sometimes a mouse."""
    total = np.zeros(samples, np.float32)
    clicks = [_click(rng, rate) for _ in range(6)]
    where, pace = -rng.uniform(0, 0.3), np.exp(rng.uniform(np.log(0.08), np.log(0.5)))
    softer, hold = 10 ** (-rng.uniform(2, 12) / 20), rng.uniform(0.04, 0.15)
    while where < samples / rate:
        key = clicks[rng.integers(len(clicks))]
        gain = rng.lognormal(0, 0.4)
        for moment, level in ((where, gain), (where + hold * rng.uniform(0.8, 1.2), gain * softer)):
            begin = int(moment * rate)
            part = total[max(begin, 0) : max(begin + len(key), 0)]
            part += np.float32(level) * key[max(-begin, 0) :][: len(part)]
        where += pace * (rng.exponential(0.7) + 0.3) + (rng.random() < 0.05) * rng.uniform(0.3, 1.0)
    return total + rng.standard_normal(samples, dtype=np.float32) * np.float32(1e-4)


def mains(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """The mains: 50 or 60 Hz with up to 40 harmonics, the even or the odd ones often stronger; a dimmer buzzes."""
    number = np.arange(1, int(rng.integers(1, 41)) + 1)
    levels = 10 ** (-(rng.uniform(2, 14) * np.log2(number) + rng.uniform(0, 12, len(number))) / 20)
    levels = levels * np.where(number % 2 == rng.integers(2), 10 ** (-rng.uniform(0, 30) / 20), 1.0)
    pitch = rng.choice((50.0, 60.0)) * rng.uniform(0.999, 1.001)
    return tone(np.full(samples, pitch), rate, levels, rng)


def _click(rng: np.random.Generator, rate: int) -> np.ndarray:
    """A knock of some resonances and a burst of noise, 60 ms."""
    time = np.arange(int(0.06 * rate)) / rate
    sound = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.0005, 0.006)) * rng.uniform(0.1, 1)
    for _ in range(int(rng.integers(2, 6))):
        pitch = np.exp(rng.uniform(np.log(150), np.log(9000)))
        ringing = np.exp(-time / rng.uniform(0.001, 0.012))
        sound += rng.uniform(0.1, 1) * ringing * np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6.28))
    return sound.astype(np.float32)


FAMILIES = (fan, fan, keyboard, keyboard, mains)
