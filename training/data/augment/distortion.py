"""What overload and telephone codecs do to a mixture, shared between its speech and its noise.

A distorted mixture is the clean one times a gain that changes from sample to sample. Speech and noise each get that
gain: they still sum to the mixture, and clean speech that is clipped or coded is its own target. So a network learns to
take the noise away and to leave the distortion, which no causal network of some milliseconds could undo.
"""

from __future__ import annotations

import torch
from torch import Tensor

MU = 255.0
TELEPHONE_RATE = 8000  # Hz


def clipped(sources: Tensor, depth: Tensor) -> Tensor:
    """Sources `[batch, sources, samples]` whose sum is clipped `depth` `[batch]` dB under its peak."""
    mixture = sources.sum(1).abs()
    limit = mixture.amax(-1) * 10 ** (-depth / 20)
    return sources * (limit[:, None] / mixture.clamp(min=1e-9)).clamp(max=1)[:, None]


def mu_law(sources: Tensor) -> Tensor:
    """Sources `[batch, sources, samples]` at 8 kHz whose sum went through 8-bit µ-law (the curve of ITU-T G.711)."""
    mixture = sources.sum(1)
    compressed = torch.log1p(MU * mixture.abs().clamp(max=1)) / torch.log(torch.tensor(1 + MU))
    decoded = torch.expm1((compressed * 127).round() / 127 * torch.log(torch.tensor(1 + MU))) / MU
    return sources * (decoded / mixture.abs().clamp(min=1e-9)).clamp(max=2)[:, None]


def telephone(sources: Tensor, rate: int) -> Tensor:
    """Sources `[batch, sources, samples]` at `rate` Hz as heard over a G.711 line: 8 kHz, µ-law, and back.

    The spectrum is cut at 4 kHz and not shaped; give it sources of a telephone's band. `samples` is a multiple of
    rate / 2000.
    """
    samples = sources.shape[-1]
    small = samples * TELEPHONE_RATE // rate
    spectrum = torch.fft.rfft(sources)[..., : small // 2 + 1].clone()
    spectrum[..., -1] = 0
    coded = torch.fft.rfft(mu_law(torch.fft.irfft(spectrum * (small / samples), small)))
    return torch.fft.irfft(coded * (samples / small), samples)
