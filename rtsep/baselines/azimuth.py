"""Azimuth mask: time-frequency bins that come from the middle are taken out.

After Barry, Lawlor and Coyle, "Sound source separation: azimuth discrimination and resynthesis", DAFx 2004: in every
bin one channel is scaled until it cancels the other best; the scale is where the sound lies, what then remains is how
little it is that sound. Here the scale is found in closed form, and the frames are causal and short.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtsep.baselines.spatial import Floats, Spatial
from rtsep.model_spec import ModelSpec

LOW_HZ, HIGH_HZ = 180.0, 12_000.0  # the mask works between these
WIDTH = 0.4  # scales from 1 - WIDTH to 1 count as the middle
SMOOTHING_S = 0.03  # the cross spectra's memory


def asymmetric_windows(analysis: int, synthesis: int) -> tuple[Floats, Floats]:
    """Analysis [analysis] and synthesis window [synthesis]: their product is a Hann window over the newest samples.

    A long look back for fine frequencies, a short frame for low delay: Mauler and Martin, "A low delay, variable
    resolution, perfect reconstruction spectral analysis-synthesis system for speech enhancement", EUSIPCO 2007.
    Hops of half the synthesis window add up to 1.
    """
    half = synthesis // 2
    rise = np.sin(np.pi / 2 * (np.arange(analysis - half) + 0.5) / (analysis - half))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(synthesis) + 0.5) / synthesis)
    look = np.concatenate([rise, np.sqrt(hann[half:])])
    return look.astype(np.float32), (hann / look[-synthesis:]).astype(np.float32)


class Azimuth(Spatial):
    """A mask on the middle of every bin, from the smoothed (co)spectra of left and right."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._look, self._put = asymmetric_windows(spec.analysis_window, spec.synthesis_window)
        hertz = np.fft.rfftfreq(spec.analysis_window, 1 / spec.sample_rate)
        self._band = ((hertz >= LOW_HZ) & (hertz <= HIGH_HZ)).astype(np.float32)
        self._keep = float(np.exp(-spec.hop / (SMOOTHING_S * spec.sample_rate)))
        self._power = np.zeros((2, len(hertz)), np.float32)
        self._cross = np.zeros(len(hertz), np.float32)
        self._sum = np.zeros((2, spec.synthesis_window), np.float32)

    def remove(self, window: Floats) -> Floats:
        """See Spatial.remove."""
        hop, synthesis = self.spec.hop, self.spec.synthesis_window
        spectra = np.fft.rfft(window * self._look)
        mid = (spectra[0] + spectra[1]) / 2
        made = np.fft.irfft(spectra - self._middle(spectra) * mid)[:, -synthesis:] * self._put
        self._sum += made
        done = self._sum[:, :hop].copy()
        self._sum[:, :-hop] = self._sum[:, hop:]
        self._sum[:, -hop:] = 0
        return done

    def _middle(self, spectra: NDArray[np.complexfloating]) -> Floats:
        """How much of every bin comes from the middle, [bins], 0 to 1."""
        self._learn(self._power, np.abs(spectra) ** 2)
        self._learn(self._cross, (spectra[0] * spectra[1].conj()).real)
        loud, soft = self._power.max(axis=0), self._power.min(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.clip(self._cross / loud, 0, 1)  # the one that cancels the softer channel best
            rest = np.clip((soft - scale * self._cross) / soft, 0, 1)
        share = np.clip(1 - (1 - scale) / WIDTH, 0, 1) * (1 - rest)
        return np.nan_to_num(share, nan=0.0) * self._band

    def _learn(self, memory: Floats, news: NDArray[np.floating]) -> None:
        memory *= self._keep
        memory += (1 - self._keep) * news
        memory[~(np.abs(memory) > 1e-30)] = 0  # NaN must not stay, nor may denormals

    def forget(self) -> None:
        """See Spatial.forget."""
        for memory in (self._power, self._cross, self._sum):
            memory[:] = 0
