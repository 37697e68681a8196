"""Voices as instruments: what producers make of vocals before they are mixed.

Filters, distortion, echoes, long reverberation around the listener, backwards voices that swell and stop, chopped ones.
Songs are full of them, and recordings of singers have none: a network that never heard any leaves them in the music.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DISTORTED_SHARE, FILTERED_SHARE, REVERBERANT_SHARE, ECHO_SHARE = 0.15, 0.45, 0.55, 0.2
BACKWARDS_SHARE, CHOPPED_SHARE = 0.35, 0.2
LOW_PASS_HZ, HIGH_PASS_HZ = (700.0, 7000.0), (120.0, 900.0)
DECAY_S = (0.5, 5.0)  # to −60 dB
ECHO_S = (0.08, 0.6)
CHOP_S = (0.1, 0.6)


class Effects:
    """A chain drawn anew for each voice of `samples` at `rate` Hz, on `device`. Spaces wrap from end to beginning."""

    def __init__(self, rate: int, samples: int, device: torch.device | str = "cpu"):
        self.rate, self.samples, self.device = rate, samples, device
        self.seconds = torch.arange(samples, device=device) / rate
        self.hertz = torch.arange(samples // 2 + 1, device=device) * (rate / samples)

    def __call__(self, voice: Tensor, rng: np.random.Generator) -> Tensor:
        """float32 `[2, samples]` → the same, as loud as it was, unless chopping left nothing of it."""
        power = voice.square().mean()
        if rng.random() < DISTORTED_SHARE:
            voice = self.distorted(voice, rng)
        if rng.random() < FILTERED_SHARE:
            voice = self.filtered(voice, rng)
        place = rng.random()
        if place < REVERBERANT_SHARE:
            voice = self.reverberant(voice, rng)
        elif place < REVERBERANT_SHARE + ECHO_SHARE:
            voice = self.echoed(voice, rng)
        if rng.random() < BACKWARDS_SHARE:
            voice = voice.flip(1)
        if rng.random() < CHOPPED_SHARE:
            voice = self.chopped(voice, rng)
        # A voice that all but fell between the beats stays faint.
        return voice * (power / voice.square().mean().clamp(min=1e-20)).sqrt().clamp(max=100)

    def distorted(self, voice: Tensor, rng: np.random.Generator) -> Tensor:
        """Through a valve, more or less overdriven."""
        level = voice.square().mean().sqrt().clamp(min=1e-10)
        return torch.tanh(voice / level * rng.uniform(0.3, 3.0)) * level

    def filtered(self, voice: Tensor, rng: np.random.Generator) -> Tensor:
        """Treble (6 to 48 dB an octave), bass (6 to 24) or both taken away: Butterworth's magnitudes, no phase."""
        low, high = rng.random() < 0.8, rng.random() < 0.4
        gain = torch.ones_like(self.hertz)
        if low or not high:
            gain = gain / (1 + (self.hertz / _between(LOW_PASS_HZ, rng)) ** (2 * int(rng.integers(1, 9)))).sqrt()
        if high:
            corner = self.hertz.clamp(min=self.hertz[1]) / _between(HIGH_PASS_HZ, rng)
            gain = gain / (1 + corner ** (-2 * int(rng.integers(1, 5)))).sqrt()
        return torch.fft.irfft(torch.fft.rfft(voice) * gain, self.samples)

    def reverberant(self, voice: Tensor, rng: np.random.Generator) -> Tensor:
        """Noise that decays for each channel, treble sooner; half of the time nothing else is left of the voice."""
        noise = torch.from_numpy(rng.standard_normal((2, self.samples), np.float32)).to(self.device)
        tail = torch.fft.rfft(noise * 10 ** (-3 * self.seconds / _between(DECAY_S, rng)))
        tail = tail / (1 + (self.hertz / rng.uniform(1500, 9000)) ** 2).sqrt()
        wet = torch.fft.irfft(torch.fft.rfft(voice) * tail, self.samples)
        wet = wet * (voice.square().sum() / wet.square().sum().clamp(min=1e-20)).sqrt()
        return wet if rng.random() < 0.5 else wet + voice * 10 ** (rng.uniform(-12, 6) / 20)

    def echoed(self, voice: Tensor, rng: np.random.Generator) -> Tensor:
        """Six repetitions, each weaker than the one before, more of them left and right in turns."""
        delay, weaker, out = round(_between(ECHO_S, rng) * self.rate), rng.uniform(0.3, 0.8), rng.uniform(0, 1)
        sides = torch.tensor([[1 + out], [1 - out]], device=self.device)
        total = voice
        for number in range(1, 7):
            again = voice.roll(number * delay % self.samples, 1) * weaker**number
            total = total + again * (sides if number % 2 else sides.flip(0))
        return total

    def chopped(self, voice: Tensor, rng: np.random.Generator) -> Tensor:
        """On and off in a beat, with flanks of 3 to 30 ms."""
        beat, on, flank = _between(CHOP_S, rng), rng.uniform(0.3, 0.8), rng.uniform(0.003, 0.03)
        inside = (self.seconds + rng.uniform(0, beat)) % beat
        return voice * (torch.minimum(inside, on * beat - inside) / flank).clamp(0, 1)


def _between(ends: tuple[float, float], rng: np.random.Generator) -> float:
    """Even in octaves."""
    return float(np.exp(rng.uniform(*np.log(ends))))
