"""Noise made by rule: families that recordings are short of. Each returns float32 `[count, samples]`, unit RMS.

The families of `tonal` and `appliance` noise, in files of their own, make one sound at a time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.data import appliance_noise, tonal_noise


def coloured(rng: np.random.Generator, count: int, samples: int, rate: int) -> Tensor:
    """Gaussian noise with a slope of −9 to +3 dB an octave and a slowly wandering level."""
    spectrum = torch.fft.rfft(_white(rng, count, samples))
    octave = torch.log2(torch.arange(spectrum.shape[-1]).clamp(min=1) * (rate / samples) / 1000 + 0.03)
    slope = torch.from_numpy(rng.uniform(-9, 3, (count, 1)).astype(np.float32))
    sound = torch.fft.irfft(spectrum * 10 ** (slope * octave / 20), samples)
    return _unit(sound * _wander(rng, count, samples, rate, depth=rng.uniform(0, 8, (count, 1))))


def hum(rng: np.random.Generator, count: int, samples: int, rate: int) -> Tensor:
    """Mains, engines and fans: up to 40 harmonics of a slowly drifting 25 to 400 Hz, over a little coloured noise."""
    time = np.arange(samples) / rate
    sounds = torch.empty(count, samples)
    for index in range(count):
        base = 50.0 * rng.integers(1, 3) if rng.random() < 0.4 else float(np.exp(rng.uniform(np.log(25), np.log(400))))
        drift, pace = 0.0 if base in (50.0, 100.0) else rng.uniform(0, 0.15), 2 * np.pi * rng.uniform(0.1, 1.5)
        partials = min(int(rng.integers(3, 40)), int(0.45 * rate / base))
        level = 10 ** (-(rng.uniform(3, 15) * np.log2(np.arange(1, partials + 1)) + rng.uniform(0, 12, partials)) / 20)
        pitch = base * (1 + drift * pace * np.cos(pace * time))
        sounds[index] = torch.from_numpy(tonal_noise.tone(pitch, rate, level, rng))
    return _unit(_unit(sounds) + _unit(coloured(rng, count, samples, rate)) * float(rng.uniform(0.05, 0.6)))


def wind(rng: np.random.Generator, count: int, samples: int, rate: int) -> Tensor:
    """Gusts: noise falling 6 to 12 dB an octave above 80 to 400 Hz, its level swinging by tens of dB."""
    spectrum = torch.fft.rfft(_white(rng, count, samples))
    hertz = torch.arange(spectrum.shape[-1]) * (rate / samples)
    corner = torch.from_numpy(rng.uniform(80, 400, (count, 1)).astype(np.float32))
    power = torch.from_numpy(rng.uniform(1, 2, (count, 1)).astype(np.float32))
    sound = torch.fft.irfft(spectrum / (1 + (hertz / corner) ** 2) ** power, samples)
    return _unit(sound * _wander(rng, count, samples, rate, depth=rng.uniform(10, 30, (count, 1))))


def crackle(rng: np.random.Generator, count: int, samples: int, rate: int) -> Tensor:
    """Rain, fire, strokes: short decaying bursts of band-limited noise, 2 to 400 a second, of very uneven level."""
    sounds = torch.zeros(count, samples)
    for index in range(count):
        number = max(1, int(samples / rate * np.exp(rng.uniform(np.log(2), np.log(400)))))
        where = torch.from_numpy(rng.integers(0, samples, number))
        sounds[index].index_add_(0, where, torch.from_numpy(rng.lognormal(0, 1.2, number).astype(np.float32)))
        decay = np.exp(rng.uniform(np.log(0.0005), np.log(0.03)))
        burst = _white(rng, 1, min(samples, int(8 * decay * rate)))[0]
        burst = burst * torch.exp(-torch.arange(len(burst)) / (decay * rate))
        spectrum = torch.fft.rfft(sounds[index]) * torch.fft.rfft(burst, samples)
        centre, width = np.exp(rng.uniform(np.log(300), np.log(9000))), rng.uniform(0.4, 2.5)
        octave = torch.log2((torch.arange(len(spectrum)) * (rate / samples) + 1) / float(centre))
        sounds[index] = torch.fft.irfft(spectrum * torch.exp(-0.5 * (octave / float(width)) ** 2), samples)
    return _unit(sounds)


FAMILIES = (coloured, coloured, hum, wind, crackle)
SINGLE = {"tonal": tonal_noise.FAMILIES, "appliance": appliance_noise.FAMILIES}
KINDS = ("synthetic", *SINGLE, "wind")


def generated(kind: str, rng: np.random.Generator, count: int, samples: int, rate: int) -> Tensor:
    """`count` sounds of one of KINDS, each of a family drawn at random."""
    if not count:
        return torch.empty(0, samples)
    if kind == "synthetic":
        return torch.cat([FAMILIES[rng.integers(len(FAMILIES))](rng, 1, samples, rate) for _ in range(count)])
    if kind == "wind":
        return wind(rng, count, samples, rate)
    families = SINGLE[kind]
    sounds = [families[rng.integers(len(families))](rng, samples, rate) for _ in range(count)]
    return _unit(torch.from_numpy(np.stack(sounds).astype(np.float32)))


def _white(rng: np.random.Generator, count: int, samples: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal((count, samples), dtype=np.float32))


def _wander(rng: np.random.Generator, count: int, samples: int, rate: int, depth: np.ndarray) -> Tensor:
    """A smooth random gain, `[count, samples]`, spread over about ±`depth` dB, changing some times a second."""
    knots = max(4, int(samples / rate * rng.uniform(0.7, 4)))
    points = torch.from_numpy((rng.standard_normal((count, 1, knots)) * depth[:, None] / 2).astype(np.float32))
    return 10 ** (torch.nn.functional.interpolate(points, samples, mode="linear", align_corners=True)[:, 0] / 20)


def _unit(sound: Tensor) -> Tensor:
    return sound / (sound.square().mean(-1, keepdim=True).sqrt() + 1e-6)
