"""Compressed-spectrum error (Ephrat et al. 2018, arXiv 1804.03619; Braun & Tashev 2021), and the spectra it shares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-5  # power; below it a bin counts as silent and has no gradient to speak of


class _Fourier(torch.autograd.Function):
    """Real frames `[batch, frames, window]` → `[batch, 2, frames, bins]`, real and imaginary parts.

    The gradient of a real transform is another one, backwards; torch's own goes through a complex transform of full
    length. Windows are even: the last bin is real, as the first.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        ctx.window = frames.shape[-1]
        return torch.stack(torch.view_as_real(torch.fft.rfft(frames)).unbind(-1), 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        share = torch.full(
            (2, 1, gradient.shape[-1]), 0.5, device=gradient.device
        )  # irfft adds each bin's mirror image
        share[0, :, 0] = share[0, :, -1] = 1
        share[1, :, 0] = share[1, :, -1] = 0  # real bins have no imaginary part, and not every FFT ignores it
        pairs = (gradient * share).movedim(1, -1).contiguous()
        return torch.fft.irfft(torch.view_as_complex(pairs), ctx.window, norm="forward")


def spectrum(wave: Tensor, window: int = 1024, hop: int = 512) -> Tensor:
    """Hann-windowed STFT as reals, `[batch, samples]` → `[batch, 2, frames, window // 2 + 1]`, unit gain for a sine."""
    if window % hop or window % 2:
        raise ValueError(f"A window is an even number of samples and a whole number of hops, not {window} of {hop}.")
    taper = torch.hann_window(window, device=wave.device)
    padded = torch.nn.functional.pad(wave.float(), (window // 2, window // 2), mode="reflect")
    count, overlaps = wave.shape[-1] // hop + 1, window // hop
    # Frames from whole hops side by side: the gradient of torch.stft's overlapping frames takes five times as long.
    hops = padded[:, : (count + overlaps - 1) * hop].unflatten(-1, (-1, hop))
    frames = torch.cat([hops[:, first : first + count] for first in range(overlaps)], -1)
    return _Fourier.apply(frames * (taper * (2 / taper.sum())))


def compressed(pairs: Tensor, power: float = 0.3) -> tuple[Tensor, Tensor]:
    """Magnitude to the `power`, and the complex spectrum with that magnitude; no angle.

    By logarithm and exponential, whose gradients are cheap: that of a power takes five times as long on a CPU.
    """
    energy = pairs.square().sum(1) + FLOOR**2
    magnitude = (energy.log() * (power / 2)).exp()
    return magnitude, pairs * (magnitude * energy.rsqrt()).unsqueeze(1)


def compressed_error(estimate: Tensor, reference: Tensor, complex_share: float = 0.3) -> Tensor:
    """Mean squared error of compressed spectra `[batch, 2, frames, bins]` → `[batch]`: magnitude + share × complex.

    Levels matter: bring both to a common level first (see `Objective`).
    """
    magnitude, phased = compressed(estimate)
    magnitude_true, phased_true = compressed(reference)
    error = (magnitude - magnitude_true).square().mean((1, 2))
    return error + complex_share * (phased - phased_true).square().sum(1).mean((1, 2))
