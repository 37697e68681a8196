"""Other singers of the same notes: the formants of a voice moved, its pitch and its timing left as they are.

The envelope over frequency is what the low quefrencies of the cepstrum tell (Oppenheim, Schafer 1968); a longer or
shorter vocal tract has it squeezed or stretched (vocal tract length perturbation: Jaitly, Hinton 2013). Here it is done
to sound, not to features: the short-time spectrum is multiplied by the new envelope over the old one.
"""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW_S = 0.043  # at most: a power of two of samples
QUEFRENCY_S = 0.0016  # above it partials begin, for voices up to 600 Hz
MOST = 20.0  # dB, of any gain
FLOOR = 1e-8  # of the greatest power: quieter bins have no envelope


class FormantShift:
    """Moves the formants of float32 sound at `rate` Hz, on `device`."""

    def __init__(self, rate: int, device: torch.device | str = "cpu"):
        self.size = 2 ** (round(WINDOW_S * rate).bit_length() - 1)
        self.window = torch.hann_window(self.size, device=device)
        self.kept = torch.zeros(self.size, 1, device=device)
        low = round(QUEFRENCY_S * rate)
        self.kept[:low] = self.kept[-low + 1 :] = 1.0
        self.bins = torch.arange(self.size // 2 + 1, device=device)

    def __call__(self, sound: Tensor, ratio: float) -> Tensor:
        """`sound` `[channels, samples]` with formants at `ratio` times their frequencies, as loud as before.

        One envelope for all channels: where the voice comes from stays. Silence stays silence.
        """
        shape = {"n_fft": self.size, "hop_length": self.size // 4, "window": self.window}
        spectra = torch.stft(sound, **shape, return_complex=True)
        power = spectra.abs().square().mean(0)
        logarithm = (power + FLOOR * power.max() + 1e-20).log()
        envelope = torch.fft.rfft(torch.fft.irfft(logarithm, dim=0) * self.kept, dim=0).real
        place = (self.bins / ratio).clamp(max=len(self.bins) - 1)
        first = place.long().clamp(max=len(self.bins) - 2)
        moved = torch.lerp(envelope[first], envelope[first + 1], (place - first)[:, None])
        most = 10 ** (MOST / 20)
        gain = (0.5 * (moved - envelope)).exp().clamp(1 / most, most)
        moved = torch.istft(spectra * gain, **shape, length=sound.shape[1])
        return moved * (sound.square().sum() / moved.square().sum().clamp(min=1e-20)).sqrt()
