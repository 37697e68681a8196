"""Short-time spectra for losses, with gradients that are cheap on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
