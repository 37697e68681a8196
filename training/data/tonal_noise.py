"""Harmonic noise made by rule: sirens, alarms, chimes, saws, calls of animals and babies.

A network takes harmonics for a voice unless it has heard many that are none. Each family draws one sound,
`[samples]`, of any level; `generated` of synthetic_noise.py brings them to unit RMS.
"""

from __future__ import annotations

import numpy as np

TABLE = 8192  # samples of one period of a waveform
BELL = (0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.1)  # partials of a church bell (Fletcher & Rossing 1998, ch. 21)


def siren(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """A wail, yelp or two tones: the pitch goes between 350 to 900 and 800 to 2000 Hz, 0.15 to 6 times a second."""
    low, high = rng.uniform(350, 900), rng.uniform(800, 2000)
    turn = _log_uniform(rng, 0.15, 6) * np.arange(samples) / rate + rng.random()
    shape = rng.integers(3)
    if shape == 0:
        place = 0.5 - 0.5 * np.cos(2 * np.pi * turn)
    elif shape == 1:
        place = np.abs(2 * (turn % 1) - 1)
    else:
        place = smoothed((turn % 1 < 0.5).astype(np.float64), rate // 100)
    return tone(low * (high / low) ** place, rate, _partials(rng, 12), rng)


def alarm(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Beeps of 40 to 600 ms on one to three pitches of 300 to 4000 Hz, the same pattern over and over."""
    count = int(rng.integers(1, 5))
    pitches = _log_uniform(rng, 300, 4000) * 2 ** (rng.integers(-7, 8, count) / 12 * (rng.random() < 0.5))
    on = _log_uniform(rng, 0.04, 0.6)
    spacing = on + _log_uniform(rng, 0.03, 0.5)
    pause = _log_uniform(rng, 0.05, 1.5)
    moment = (np.arange(samples) / rate + rng.uniform(0, 5)) % (count * spacing + pause)
    beep = np.minimum((moment / spacing).astype(int), count - 1)
    heard = smoothed((moment - beep * spacing < on).astype(np.float64), int(rate * rng.uniform(0.001, 0.01)))
    return tone(pitches[beep], rate, _partials(rng, 8), rng) * heard


def chime(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Bells, glasses and wind chimes: up to five pitches of 200 to 3000 Hz, each struck at random and dying away."""
    size = min(samples, 2 * rate)
    time = np.arange(size) / rate
    total = np.zeros(samples)
    for _ in range(int(rng.integers(1, 6))):
        base, decay = _log_uniform(rng, 200, 3000), _log_uniform(rng, 0.08, 1.2)
        bell = np.zeros(size)
        for ratio in (
            rng.choice(BELL, int(rng.integers(2, 7)), replace=False) if rng.random() < 0.6 else (1.0, 2.76, 5.4)
        ):
            if base * ratio < 0.45 * rate:
                fall = -time * (ratio**0.5 / decay)
                bell += rng.uniform(0.1, 1) * np.exp(fall) * np.sin(2 * np.pi * base * ratio * time + rng.uniform(0, 6))
        strikes = np.zeros(samples)
        number = max(1, rng.poisson(samples / rate * rng.uniform(0.3, 4)))
        np.add.at(strikes, rng.integers(0, samples, number), rng.lognormal(0, 0.6, number))
        total += np.fft.irfft(np.fft.rfft(strikes) * np.fft.rfft(bell, samples), samples)
    return total.astype(np.float32)


def saw(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Saws, drills and mixers: many harmonics of 60 to 700 Hz that sags under load, and hiss in step with them."""
    time = np.arange(samples) / rate
    load = 0.5 + 0.5 * np.sin(2 * np.pi * (_log_uniform(rng, 0.1, 3) * time + rng.random()))
    pitch = _log_uniform(rng, 60, 700) * (1 - rng.uniform(0, 0.3) * load)
    phase = np.cumsum(pitch / rate)
    levels = 10 ** (-(rng.uniform(1, 6) * np.log2(np.arange(1, 60)) + rng.uniform(0, 10, 59)) / 20)
    sound = tone(pitch, rate, levels, rng)
    hiss = shaped(rng, samples, rate, _log_uniform(rng, 1500, 8000), rng.uniform(0.7, 2))
    hiss *= 1 + rng.uniform(0, 1) * np.cos(2 * np.pi * phase)
    total = sound + hiss * (sound.std() * 10 ** (rng.uniform(-20, 3) / 20) / (hiss.std() + 1e-9))
    if rng.random() < 0.4:  # switched on and off
        total *= smoothed(
            ((time * _log_uniform(rng, 0.3, 1.5) + rng.random()) % 1 < 0.6).astype(np.float64), rate // 10
        )
    return total.astype(np.float32)


CALLS = (  # what calls: length of a call in s, pause in s, Hz, share of noise
    ((0.08, 0.35), (0.1, 1.0), (250, 1000), 0.7),  # dogs
    ((0.4, 1.4), (0.2, 1.0), (300, 650), 0.15),  # babies
    ((0.3, 1.0), (0.4, 2.0), (350, 900), 0.1),  # cats
    ((0.04, 0.3), (0.03, 0.6), (1800, 7000), 0.02),  # birds
    ((0.4, 1.5), (0.3, 2.0), (90, 300), 0.3),  # cows, sheep
)


def call(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Barks, cries, mews, chirps: gliding harmonics under one or two resonances, call after call."""
    length, pause, band, noisy = CALLS[rng.integers(len(CALLS))]
    total = np.zeros(samples, np.float32)
    base, levels = _log_uniform(rng, *band), _partials(rng, 24)
    resonances = [(_log_uniform(rng, 500, 4000), rng.uniform(0.25, 0.8)) for _ in range(2)]
    where = int(-rng.uniform(0, 0.5) * rate)
    while where < samples:
        size = int(rate * rng.uniform(*length))
        place = np.linspace(0, 1, size)
        glide = rng.uniform(-0.25, 0.25) * place - rng.uniform(0, 0.6) * (2 * place - rng.uniform(0.4, 1.2)) ** 2
        vibrato = rng.uniform(0, 0.03) * np.sin(2 * np.pi * rng.uniform(4, 12) * place * size / rate)
        pitch = base * rng.uniform(0.9, 1.1) * 2 ** (glide + vibrato)
        sound = tone(pitch, rate, levels, rng)
        hiss = rng.standard_normal(size, dtype=np.float32)
        sound += hiss * (sound.std() * noisy * rng.uniform(0.2, 1.5))
        sound = resonant(sound, rate, resonances)
        sound *= np.sin(np.pi * place ** rng.uniform(0.3, 1.0)) ** rng.uniform(0.3, 1.5) * rng.uniform(0.4, 1)
        begin, end = max(where, 0), min(where + size, samples)
        if end > begin:
            total[begin:end] = sound[begin - where : end - where]
        where += size + int(rate * _log_uniform(rng, *pause))
    return total


def tone(pitch: np.ndarray, rate: int, levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonics of `pitch` `[samples]` in Hz with gains `levels`, read from a table of one period; float32."""
    highest = int(0.45 * rate / pitch.max())
    spectrum = np.zeros(TABLE // 2 + 1, np.complex128)
    levels = levels[: max(1, min(highest, TABLE // 16))]
    spectrum[1 : len(levels) + 1] = levels * np.exp(1j * rng.uniform(0, 2 * np.pi, len(levels)))
    table = (np.fft.irfft(spectrum) * TABLE / 2).astype(np.float32)
    phase = np.cumsum(pitch * (TABLE / rate)).astype(np.int64)
    return table[phase & (TABLE - 1)]


def shaped(rng: np.random.Generator, samples: int, rate: int, centre: float, width: float) -> np.ndarray:
    """Gaussian noise around `centre` Hz, `width` octaves wide (one standard deviation); float32."""
    return resonant(rng.standard_normal(samples, dtype=np.float32), rate, [(centre, width)], floor=0.0)


def resonant(sound: np.ndarray, rate: int, resonances: list[tuple[float, float]], floor: float = 0.05) -> np.ndarray:
    """`sound` through bells of a frequency in Hz and a width in octaves, over a `floor` that passes everywhere."""
    spectrum = np.fft.rfft(sound)
    octave = np.log2((np.arange(len(spectrum)) + 0.5) * (rate / len(sound)))
    gain = np.full(len(spectrum), floor)
    for centre, width in resonances:
        gain += np.exp(-0.5 * ((octave - np.log2(centre)) / width) ** 2)
    return np.fft.irfft(spectrum * gain, len(sound)).astype(np.float32)


def smoothed(gate: np.ndarray, samples: int) -> np.ndarray:
    """A gate `[n]` of 0 and 1 whose edges take `samples`."""
    if samples < 2:
        return gate
    total = np.cumsum(np.concatenate([np.full(samples, gate[0]), gate]))
    return (total[samples:] - total[:-samples]) / samples


def _partials(rng: np.random.Generator, most: int) -> np.ndarray:
    """Gains of 1 to `most` harmonics, falling 0 to 15 dB an octave, now and then without the even ones."""
    number = np.arange(1, int(rng.integers(1, most + 1)) + 1)
    levels = 10 ** (-(rng.uniform(0, 15) * np.log2(number) + rng.uniform(0, 8, len(number))) / 20)
    return np.where((number % 2 == 1) | (rng.random() < 0.7), levels, 0.0)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


FAMILIES = (siren, alarm, chime, saw, call, call)
