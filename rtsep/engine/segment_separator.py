"""SegmentSeparator: one segment of a song through an STFT, a spectral graph and the inverse STFT.

What lies above the ``bins`` that a graph sees would stay in the accompaniment, hiss of the voice and all, or be missing
in it, cymbals and all. With ``above = follow`` a source gets there, frame by frame and channel by channel, its share of
the power in the octave below the ceiling: consonants go with their voice, and cymbals stay while nobody sings. Spleeter
has the like over all bins ("average"), where vowels and basses, which know nothing of hiss, decide about it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.segments import Segments
from rtsep.engine.spectral_spec import SpectralSpec

Floats = NDArray[np.float32]
_SMALLEST = 1e-20  # power that counts as silence


class SegmentSeparator:
    """Segments of songs at one rate to what each source is in them; holds no sound."""

    def __init__(self, spec: SpectralSpec, session: Any, sample_rate: int) -> None:
        """session: onnxruntime's, of the graph. sample_rate: of the songs, Hz."""
        self.spec, self._session, self._rate = spec, session, sample_rate
        self.length = Segments(spec, sample_rate).length
        turns = np.arange(spec.window) / spec.window
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)
        self._envelope = self._overlap_add(np.broadcast_to(np.square(self._window), (1, spec.frames, spec.window)))

    def separate(self, segment: Floats) -> Floats:
        """[samples, 1 or spec.channels] of at most ``length`` samples to [estimated sources, length, channels]."""
        spec = self.spec
        x = np.zeros((spec.segment, spec.channels), np.float32)
        came = _resampled(segment, self._rate, spec.sample_rate)[: spec.segment]
        x[: len(came)] = came
        made = self.estimate(np.ascontiguousarray(x.T))
        if segment.shape[1] < spec.channels:
            made = made.mean(axis=1, keepdims=True)
        out = np.zeros((len(made), self.length, segment.shape[1]), np.float32)
        for place, source in zip(out, made, strict=True):
            back = _resampled(np.ascontiguousarray(source.T), spec.sample_rate, self._rate)[: self.length]
            place[: len(back)] = back
        return out

    def estimate(self, x: Floats) -> Floats:
        """[channels, spec.segment] at the model's rate to [estimated sources, channels, spec.segment]."""
        spec = self.spec
        spectra = self._spectra(x)
        low = spectra[..., : spec.bins]
        given = np.abs(low) if spec.input == "magnitudes" else np.stack([low.real, low.imag], axis=1)
        (found,) = self._session.run(None, {spec.input: np.ascontiguousarray(given, np.float32)})
        made = []
        for one in found:
            wet = np.zeros_like(spectra)
            wet[..., : spec.bins] = one * low if spec.output == "masks" else one[:, 0] + 1j * one[:, 1]
            if spec.above == "follow":
                wet[..., spec.bins :] = self._share(wet, spectra) * spectra[..., spec.bins :]
            made.append(self._sound(wet))
        return np.stack(made)

    def _share(self, wet: NDArray[Any], dry: NDArray[Any]) -> Floats:
        """[channels, frames, 1] from 0 to 1: how much of the octave below the ceiling is the source's."""
        octave = slice(self.spec.bins // 2, self.spec.bins)
        whole = np.square(np.abs(dry[..., octave])).sum(-1, keepdims=True)
        common = (wet[..., octave] * np.conj(dry[..., octave])).real.sum(-1, keepdims=True)
        return np.clip(common / np.maximum(whole, _SMALLEST), 0, 1).astype(np.float32)

    def _spectra(self, x: Floats) -> NDArray[np.complex64]:
        spec = self.spec
        padded = np.pad(x, ((0, 0), (spec.window // 2, spec.window // 2)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, spec.window, axis=-1)[:, :: spec.hop]
        return np.fft.rfft(frames * self._window, axis=-1).astype(np.complex64)

    def _sound(self, spectra: NDArray[np.complex64]) -> Floats:
        """The inverse: least squares over the windows (Griffin and Lim 1984)."""
        frames = np.fft.irfft(spectra, self.spec.window, axis=-1).astype(np.float32) * self._window
        half = self.spec.window // 2
        sound = self._overlap_add(frames) / np.maximum(self._envelope, np.float32(1e-8))
        return sound[:, half : half + self.spec.segment].astype(np.float32, copy=False)

    def _overlap_add(self, frames: Floats) -> Floats:
        """[channels, frames, window] to [channels, samples]."""
        window, hop = self.spec.window, self.spec.hop
        out = np.zeros((len(frames), (frames.shape[1] - 1) * hop + window), np.float32)
        for number in range(frames.shape[1]):
            out[:, number * hop : number * hop + window] += frames[:, number]
        return out


def _resampled(x: Floats, source: int, target: int) -> Floats:
    """soxr at high quality; [samples, channels]."""
    if source == target or not len(x):
        return x
    import soxr

    return soxr.resample(x, source, target, quality="HQ")
