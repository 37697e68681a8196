"""Analytic filters that the learned encoder and decoder start from (compare Pariente et al. 2020, arXiv 1910.10400).

A *pair* is a complex filter, stored as two real rows (cosine, sine). Long pairs look at the whole analysis window,
short pairs at its newest `synthesis_window` samples. The decoder rows turn masked pairs into one frame of the
overlap-add.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LOG_SCALE, LOG_OFFSET = 0.7 / math.log(10), 1.5  # bring the log power of a pair, as a feature, to about ±3


@dataclass(frozen=True)
class Filterbank:
    """Starting weights, float32. L long and M short pairs, A analysis and S synthesis window in samples.

    `long` `[2, L, A]` and `short` `[2, M, S]`: real and imaginary rows; `decoder` `[2, L + M, S]`. A long pair whose
    decoder rows are all zero starts as a mere feature. In a `folded` bank short and decoder rows are half as long.
    """

    long: np.ndarray
    short: np.ndarray
    decoder: np.ndarray
    folded: bool = False

    @property
    def first_masked(self) -> int:
        """How many pairs are features only, which the decoder does not use and which get no mask; they come first."""
        masked = np.abs(self.decoder).max(axis=(0, 2)) > 0
        first = int((~masked).sum())
        assert masked[first:].all(), "feature-only pairs come first"
        return first


@dataclass(frozen=True)
class Features:
    """Long pairs that only inform the masks: `count` of them on the ERB scale from 40 Hz to `top` Hz."""

    count: int
    top: float


def dual(
    sample_rate: int,
    analysis: int,
    synthesis: int,
    features: Features | None = None,
    crossover: tuple[float, float] = (1800.0, 2800.0),
) -> Filterbank:
    """Low bands through a long window, the rest through a short one; exact reconstruction with all masks at one.

    A long, asymmetric window (slow rise over the past, square-root-Hann fall over the newest half frame) resolves the
    harmonics below `crossover` (Hz, where it begins and ends) without a sample of latency: the idea of Mauler & Martin
    (EUSIPCO 2007) and Wang et al. (arXiv 2204.09911). What it leaves over goes to the pairs of a short windowed DFT.
    """
    sine = np.sin(
        np.pi * (np.arange(synthesis) + 0.5) / synthesis
    )  # square root of a Hann window: sine**2 overlap-adds to 1
    window = _asymmetric(analysis, synthesis)

    bins = np.arange(analysis // 2 + 1)
    hertz = bins * sample_rate / analysis
    begin, end = crossover
    gain = np.where(hertz <= begin, 1.0, 0.5 + 0.5 * np.cos(np.pi * np.clip((hertz - begin) / (end - begin), 0, 1)))
    used = np.flatnonzero(gain > 1e-6)
    analysis_rows = window * np.exp(-2j * np.pi * used[:, None] * np.arange(analysis) / analysis)
    newest = np.arange(analysis - synthesis, analysis)
    scale = np.where((used == 0) | (used == analysis // 2), 1.0, 2.0) * gain[used] / analysis
    synthesis_rows = (
        scale[:, None] * np.exp(2j * np.pi * used[:, None] * newest / analysis) * (sine**2 / window[newest])
    )

    # What the long pairs give back of the newest samples, as a matrix [S, A]; the short pairs encode the remainder.
    given = (synthesis_rows.real.T @ analysis_rows.real) - (synthesis_rows.imag.T @ analysis_rows.imag)
    remainder = -given / sine[:, None]
    remainder[:, newest] += np.diag(sine)
    short_bins = np.arange(synthesis // 2 + 1)
    dft = np.exp(-2j * np.pi * short_bins[:, None] * np.arange(synthesis) / synthesis)
    encoded = dft @ remainder
    inverse = (
        np.where((short_bins == 0) | (short_bins == synthesis // 2), 1.0, 2.0)[:, None] / synthesis * dft.conj() * sine
    )
    # Low short bins still need the long past to subtract the long pairs; above that the newest samples suffice.
    deep = int(np.ceil((end + 1000.0) * synthesis / sample_rate))
    # The short pairs are coarse and jumpy above the crossover: long features there tell the masks what is steady.
    informing = erb_pairs(sample_rate, analysis, begin, 0.44 * sample_rate, 48) * synthesis / 4
    nothing = np.zeros((len(informing), synthesis))
    return Filterbank(
        long=_rows(np.concatenate([informing, analysis_rows, encoded[:deep]])),
        short=_rows(encoded[deep:, newest]),
        decoder=_rows(np.concatenate([nothing, synthesis_rows, inverse]), conjugate=True),
    )


def short(sample_rate: int, analysis: int, synthesis: int, features: Features | None = None) -> Filterbank:
    """A short windowed DFT is masked; `features` over the past (96 over the whole band) only inform the masks."""
    features = features or Features(96, 0.44 * sample_rate)
    long = erb_pairs(sample_rate, analysis, 40.0, features.top, features.count) * synthesis / 4
    bins = np.arange(synthesis // 2 + 1)
    sine = np.sin(np.pi * (np.arange(synthesis) + 0.5) / synthesis)
    dft = sine * np.exp(-2j * np.pi * bins[:, None] * np.arange(synthesis) / synthesis)
    inverse = np.where((bins == 0) | (bins == synthesis // 2), 1.0, 2.0)[:, None] / synthesis * dft.conj()
    decoder = np.concatenate([np.zeros((features.count, synthesis)), inverse])
    return Filterbank(_rows(long), _rows(dft), _rows(decoder, conjugate=True))


def folded(sample_rate: int, analysis: int, synthesis: int, features: Features | None = None) -> Filterbank:
    """As `short`, for half the products: phases are those at the window's centre.

    Real rows are then symmetric in time and imaginary rows antisymmetric, whatever training makes of their first
    halves; `fold` and `unfold` lay the halves of a window on each other.
    """
    features = features or Features(96, 0.44 * sample_rate)
    return _folded(erb_pairs(sample_rate, analysis, 40.0, features.top, features.count) * synthesis / 4, synthesis)


def stft(sample_rate: int, analysis: int, synthesis: int, features: Features | None = None) -> Filterbank:
    """As `folded`, informed by bins of one Fourier transform of the whole analysis window, evenly spaced.

    The window is asymmetric (see `dual`), so that its newest samples count.
    """
    features = features or Features(96, 0.44 * sample_rate)
    centre = np.linspace(40.0, features.top, features.count)
    window = _asymmetric(analysis, synthesis)
    time = np.arange(analysis) - (analysis - 1)
    rows = window / window.sum() * np.exp(2j * np.pi * centre[:, None] * time / sample_rate)
    return _folded(rows * synthesis / 4, synthesis)


def mel(sample_rate: int, analysis: int, synthesis: int, features: Features | None = None) -> Filterbank:
    """As `folded`, with long pairs on the mel scale of O'Shaughnessy (1987), as wide as twice their distance."""
    features = features or Features(96, 0.44 * sample_rate)
    low, high = 2595 * np.log10(1 + np.array([40.0, features.top]) / 700)
    centre = 700 * (10 ** (np.linspace(low, high, features.count) / 2595) - 1)
    step = (high - low) / max(1, features.count - 1)
    width = 2 * step * np.log(10) / 2595 * (centre + 700)
    return _folded(_pairs(sample_rate, analysis, centre, width) * synthesis / 4, synthesis)


def gammatone(sample_rate: int, analysis: int, synthesis: int, features: Features | None = None) -> Filterbank:
    """As `folded`, with gammatone filters for long pairs: t³·exp(−2π·1.019·ERB·t)·exp(i·2π·f·t), on the ERB scale.

    Patterson et al. 1987; compare Ditter & Gerkmann 2020 (arXiv 1910.11615), with such filters for masks.
    """
    features = features or Features(96, 0.44 * sample_rate)
    low, high = 21.4 * np.log10(1 + 0.00437 * np.array([40.0, features.top]))
    centre = ((10 ** (np.linspace(low, high, features.count) / 21.4) - 1) / 0.00437)[:, None]
    age = (np.arange(analysis)[::-1] / sample_rate)[None]
    envelope = age**3 * np.exp(-2 * np.pi * 1.019 * 24.7 * (4.37 * centre / 1000 + 1) * age)
    rows = envelope / envelope.sum(1, keepdims=True) * np.exp(-2j * np.pi * centre * age)
    return _folded(rows * synthesis / 4, synthesis)


def free(sample_rate: int, analysis: int, synthesis: int, features: Features | None = None) -> Filterbank:
    """Filters of no shape, for training to find one (Luo & Mesgarani 2019): seeded noise.

    The short pairs are orthogonal, so that masks at one begin by giving back what came in.
    """
    features = features or Features(96, 0.44 * sample_rate)
    rng = np.random.default_rng(0)
    long = rng.standard_normal((2, features.count, analysis)) / np.sqrt(analysis) * np.sqrt(synthesis) / 4
    window = np.sin(np.pi * (np.arange(synthesis) + 0.5) / synthesis)
    rotation = np.linalg.qr(rng.standard_normal((synthesis + 2, synthesis)))[0]
    rows = (rotation * np.sqrt(synthesis)).reshape(2, -1, synthesis)
    decoder = np.concatenate([np.zeros((2, features.count, synthesis)), rows / synthesis * window], 1)
    single = np.float32
    return Filterbank(long.astype(single), (rows * window).astype(single), decoder.astype(single))


def _folded(long: np.ndarray, synthesis: int) -> Filterbank:
    """A folded short windowed DFT, informed by the pairs `long`, complex `[count, analysis]`."""
    bins = np.arange(synthesis // 2 + 1)
    half = np.arange(synthesis // 2)
    sine = np.sin(np.pi * (half + 0.5) / synthesis)
    dft = np.exp(-2j * np.pi * bins[:, None] * (half - (synthesis - 1) / 2) / synthesis)
    # One product serves both halves, the sum of the real and the imaginary part at their mirror images.
    inverse = np.where((bins == 0) | (bins == synthesis // 2), 1.0, 2.0)[:, None] / synthesis * dft.conj() * sine
    decoder = np.concatenate([np.zeros((len(long), synthesis // 2)), inverse])
    return Filterbank(_rows(long), _rows(sine * dft), _rows(decoder, conjugate=True), folded=True)


def fold(window: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric and antisymmetric part of windows, doubled: `[..., S]` → twice `[..., S / 2]`."""
    first, second = window.chunk(2, -1)
    second = second.flip(-1)
    return first + second, first - second


def unfold(symmetric: Tensor, antisymmetric: Tensor) -> Tensor:
    """Frames `[..., S]` whose symmetric and antisymmetric parts have these first halves `[..., S / 2]`."""
    return torch.cat([symmetric + antisymmetric, (symmetric - antisymmetric).flip(-1)], -1)


def _asymmetric(analysis: int, synthesis: int) -> np.ndarray:
    """A slow rise over the past and the fall of a sine over the newest half of a synthesis window."""
    hop = synthesis // 2
    rise = np.sin(np.pi / 2 * (np.arange(analysis - hop) + 0.5) / (analysis - hop)) ** 2
    return np.concatenate([rise, np.sin(np.pi * (np.arange(synthesis) + 0.5) / synthesis)[hop:]])


def erb_pairs(sample_rate: int, analysis: int, low: float, high: float, count: int) -> np.ndarray:
    """Gammatone-like pairs, complex `[count, analysis]`, on the ERB scale (Glasberg & Moore 1990), `low` to `high` Hz.

    Their windows end at the newest sample and are as long as their bands are narrow; unit gain at their centres.
    """
    scale = np.linspace(21.4 * np.log10(1 + 0.00437 * low), 21.4 * np.log10(1 + 0.00437 * high), count)
    centre = (10 ** (scale / 21.4) - 1) / 0.00437
    return _pairs(sample_rate, analysis, centre, 24.7 * (4.37 * centre / 1000 + 1) * 1.5)


def _pairs(sample_rate: int, analysis: int, centre: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Pairs at these centres and bandwidths, Hz, whose windows end at the newest sample."""
    time = np.arange(analysis) - (analysis - 1)
    rows = []
    for frequency, width in zip(centre, bandwidth, strict=True):
        length = int(min(analysis, max(160, sample_rate * 1.3 / width)))
        window = np.zeros(analysis)
        window[analysis - length :] = np.sin(np.pi * (np.arange(length) / length) ** 1.6)
        rows.append(window / window.sum() * np.exp(2j * np.pi * frequency * time / sample_rate))
    return np.array(rows)


FILTERBANKS: dict[str, Callable[[int, int, int, Features | None], Filterbank]] = {
    "dual": dual,
    "short": short,
    "folded": folded,
    "stft": stft,
    "mel": mel,
    "gammatone": gammatone,
    "free": free,
}


def _rows(pairs: np.ndarray, conjugate: bool = False) -> np.ndarray:
    """Complex `[pairs, samples]` to float32 `[2, pairs, samples]`; a decoder takes the conjugate's sign."""
    return np.stack([pairs.real, -pairs.imag if conjugate else pairs.imag]).astype(np.float32)
