"""Double tracking: a voice sung several times over, the takes left and right, as refrains and choirs are recorded.

Takes that are never quite together or in tune are what makes them wide (artificial double tracking: a copy whose delay
wanders). Vocals made of one recording all lie in the middle otherwise, and a network takes the middle for the voice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

INTERVALS = (-12, -5, -4, -3, 3, 4, 5, 7, 12)  # semitones, of takes that are no unison
UNISON_SHARE = 0.6
LEAD_SHARE = 0.4  # of choirs with the voice itself in the middle
OUT = (0.6, 1.3)  # how far a take stands: 0 in the middle, 1 in one channel only, beyond it widened further
LATEST_S = 0.06
WANDER_S = 0.003  # at 0.2 to 0.8 Hz: out of tune by up to 26 cents
GRAIN_S = 0.08  # of a harmoniser's taps
FADE_S = 0.01  # a piece may begin in the midst of a note, and a take of it is late


def read(sound: Tensor, place: Tensor) -> Tensor:
    """float32 `sound` `[samples]` at the fractional indices `place` (float64, any shape), by cubic interpolation.

    Zero before its beginning and after its end (Keys 1981, "Cubic convolution interpolation for digital image
    processing").
    """
    first = place.floor()
    x = (place - first).to(sound.dtype)
    padded = torch.nn.functional.pad(sound, (2, 3))
    index = first.clamp(-2, len(sound)).long() + 2
    before, here, after, then = (padded[(index + k).clamp(0, len(padded) - 1)] for k in (-1, 0, 1, 2))
    slope, next_slope = (after - before) / 2, (then - here) / 2
    rise = here - after
    return here + x * (slope + x * (-3 * rise - 2 * slope - next_slope + x * (2 * rise + slope + next_slope)))


def harmony(sound: Tensor, rate: int, semitones: float) -> Tensor:
    """float32 `sound` `[samples]` at `rate` Hz at another pitch in the same time, as the first harmonisers did it.

    Two taps run ahead of the sound or fall behind, and jump back in turns while they cannot be heard.
    """
    ratio, samples = 2 ** (semitones / 12), len(sound)
    if ratio > 1:  # what would come out above half the rate
        spectrum = torch.fft.rfft(sound)
        spectrum[int(len(spectrum) / ratio) :] = 0
        sound = torch.fft.irfft(spectrum, samples)
    time = torch.arange(samples, dtype=torch.float64, device=sound.device)
    grain = GRAIN_S * rate
    total = torch.zeros_like(sound)
    for offset in (0.0, 0.5):
        phase = ((ratio - 1) * time / grain + offset) % 1
        total += read(sound, time + (phase - 0.5) * grain) * torch.sin(torch.pi * phase).square().to(sound.dtype)
    return total


def take(sound: Tensor, rate: int, rng: np.random.Generator) -> Tensor:
    """float32 `sound` `[samples]` at `rate` Hz sung again: a little later, now and then in another tune, never quite
    together with it."""
    interval = 0 if rng.random() < UNISON_SHARE else int(rng.choice(INTERVALS))
    seconds = torch.arange(len(sound), dtype=torch.float64, device=sound.device) / rate
    fade = (torch.minimum(seconds, seconds.flip(0)) / FADE_S).clamp(0, 1).to(sound.dtype)
    wander = WANDER_S * torch.sin(2 * np.pi * rng.uniform(0.2, 0.8) * seconds + rng.uniform(0, 2 * np.pi))
    again = read(sound * fade, (seconds - rng.uniform(0, LATEST_S) + wander) * rate) * fade
    return harmony(again, rate, interval) if interval else again


def doubled(sound: Tensor, takes: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    """`takes` of `sound`, all float32 `[samples]`, in turns left and right, `[2, samples]`; `sound` itself, the lead,
    is in the middle or is not there."""
    place = torch.zeros(2, len(sound), device=sound.device)
    if rng.random() < LEAD_SHARE:
        place += sound * 10 ** (rng.uniform(-10, 0) / 20)
    for number, each in enumerate(takes):
        angle = rng.uniform(*OUT) * np.pi / 4
        left, right = np.cos(np.pi / 4 + angle), np.sin(np.pi / 4 + angle)
        sides = (left, right) if number % 2 else (right, left)
        place += torch.stack([each * side for side in sides]) * 10 ** (rng.uniform(-4, 0) / 20)
    return place
