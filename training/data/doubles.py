"""Double tracking: a voice sung several times over, the takes left and right, as refrains and choirs are recorded.

Takes that are never quite together or in tune are what makes them wide (artificial double tracking: a copy whose delay
wanders). Vocals made of one recording all lie in the middle otherwise, and a network takes the middle for the voice.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

INTERVALS = (-12, -5, -4, -3, 3, 4, 5, 7, 12)  # semitones, of takes that are no unison
UNISON_SHARE = 0.6
LEAD_SHARE = 0.4  # of choirs with the voice itself in the middle
OUT = (0.6, 1.3)  # how far a take stands: 0 in the middle, 1 in one channel only, beyond it widened further
LATEST_S = 0.06
WANDER_S = 0.003  # at 0.2 to 0.8 Hz: out of tune by up to 26 cents


def read(sound: Tensor, place: Tensor) -> Tensor:
    """`sound` `[samples]` at the fractional indices `place`, in samples, by cubic interpolation; it begins anew at its
    end (Keys 1981, "Cubic convolution interpolation for digital image processing")."""
    first = place.floor()
    x = (place - first).to(sound.dtype)
    before, here, after, then = (sound[(first.long() + k) % len(sound)] for k in (-1, 0, 1, 2))
    slope, next_slope = (after - before) / 2, (then - here) / 2
    rise = here - after
    return here + x * (slope + x * (-3 * rise - 2 * slope - next_slope + x * (2 * rise + slope + next_slope)))


def take(sound: Tensor, rate: int, rng: np.random.Generator) -> Tensor:
    """`sound` `[samples]` at `rate` Hz sung again: a little later, in another tune now and then, never steadily so."""
    seconds = torch.arange(len(sound), dtype=torch.float64, device=sound.device) / rate
    interval = 0 if rng.random() < UNISON_SHARE else float(rng.choice(INTERVALS))
    wander = WANDER_S * torch.sin(2 * np.pi * rng.uniform(0.2, 0.8) * seconds + rng.uniform(0, 2 * np.pi))
    return read(sound, 2 ** (interval / 12) * (seconds - rng.uniform(0, LATEST_S) + wander) * rate)


def doubled(sound: Tensor, takes: list[Tensor], rng: np.random.Generator) -> Tensor:
    """`takes` of `sound`, all `[samples]`, in turns left and right, `[2, samples]`; the lead in the middle or gone."""
    place = torch.zeros(2, len(sound), device=sound.device)
    if rng.random() < LEAD_SHARE:
        place += sound * 10 ** (rng.uniform(-10, 0) / 20)
    for number, each in enumerate(takes):
        angle = rng.uniform(*OUT) * np.pi / 4
        left, right = np.cos(np.pi / 4 + angle), np.sin(np.pi / 4 + angle)
        sides = (left, right) if number % 2 else (right, left)
        place += torch.stack([each * side for side in sides]) * 10 ** (rng.uniform(-4, 0) / 20)
    return place
