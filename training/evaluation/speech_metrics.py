"""How good an enhanced signal is: published measures on (clean, enhanced) pairs, with confidence intervals.

Every measure takes two one-dimensional arrays of the same length, `reference` (clean) and `estimate`, and their
rate in Hz where it matters; it computes in float64 and returns one float. A measure that is undefined for a pair
(silence, no utterance found) is NaN and is left out of means.

`score` fixes the conventions that published tables leave open: everything perceptual is computed at 16 kHz
(PESQ-NB at 8 kHz), reached with soxr from any rate; only the log-spectral distance sees the full band.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Signal = NDArray[np.float64]

WIDE_RATE = 16_000
NARROW_RATE = 8_000
QUIET_DB = -40.0  # a frame this far below the loudest one counts as a pause
QUIET_FRAME_S = 0.05  # pauses between words are shorter than the 1 s frames of PES and EPS

#: measure -> (column title, decimals)
MEASURES: dict[str, tuple[str, int]] = {
    "pesq_wb": ("PESQ-WB", 2),
    "pesq_nb": ("PESQ-NB", 2),
    "stoi": ("STOI", 3),
    "estoi": ("ESTOI", 3),
    "si_sdr": ("SI-SDR dB", 2),
    "csig": ("CSIG", 2),
    "cbak": ("CBAK", 2),
    "covl": ("COVL", 2),
    "segsnr": ("segSNR dB", 2),
    "lsd": ("LSD dB", 2),
    "pes": ("PES dB", 1),
    "eps": ("EPS dB", 1),
    "pes_quiet": ("PES quiet dB", 1),
    "eps_quiet": ("EPS quiet dB", 1),
}


def _pair(reference: ArrayLike, estimate: ArrayLike) -> tuple[Signal, Signal]:
    r, e = np.asarray(reference, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if r.ndim != 1 or r.shape != e.shape:
        raise ValueError(
            f"reference and estimate must be one-dimensional and equally long, not {r.shape} and {e.shape}"
        )
    if not (np.isfinite(r).all() and np.isfinite(e).all()):
        raise ValueError("reference and estimate must hold finite samples only")
    return r, e


def _frames(x: Signal, length: int, step: int) -> Signal:
    """Whole frames of x, `[frames, length]`; a rest shorter than a frame is dropped."""
    if len(x) < length:
        return np.zeros((0, length))
    return np.lib.stride_tricks.sliding_window_view(x, length)[::step]


def resample(x: ArrayLike, source: float, target: float) -> Signal:
    """x `[samples]` from `source` to `target` Hz, whole signal, soxr HQ (linear phase, aligned with x)."""
    x = np.asarray(x, dtype=np.float64)
    return x if source == target else soxr.resample(x, source, target)


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio, dB, both signals made zero-mean first.

    Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", ICASSP 2019. NaN when the reference is
    constant; -inf for an estimate orthogonal to it (silence included), +inf for an exact multiple of it.
    """
    r, e = _pair(reference, estimate)
    r, e = r - r.mean(), e - e.mean()
    power = float(r @ r)
    if power == 0:
        return math.nan
    target = (float(e @ r) / power) * r
    signal, distortion = float(target @ target), float((e - target) @ (e - target))
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / distortion) if distortion > 0 else math.inf


def pesq_wb(reference: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """Wide-band PESQ, MOS-LQO (1.04 to 4.64), at 16 kHz. ITU-T P.862.2; the `pesq` package's port of its code."""
    return _pesq(reference, estimate, rate, WIDE_RATE, "wb")


def pesq_nb(reference: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """Narrow-band PESQ, MOS-LQO (1.02 to 4.55), **at 8 kHz**. ITU-T P.862 with the map of P.862.1.

    The package also takes 16 kHz input in this mode and then scores about 0.1 lower; tables mix the two.
    """
    return _pesq(reference, estimate, rate, NARROW_RATE, "nb")


def _pesq(reference: ArrayLike, estimate: ArrayLike, rate: float, at: int, mode: str) -> float:
    from pesq import PesqError, pesq

    r, e = (resample(x, rate, at) for x in _pair(reference, estimate))
    if not r.any() or not e.any() or len(r) < at // 4:  # P.862 needs a quarter of a second and something to hear
        return math.nan
    value = float(pesq(at, r, e, mode, on_error=PesqError.RETURN_VALUES))
    return value if value > 0 else math.nan


def stoi(reference: ArrayLike, estimate: ArrayLike, rate: float, extended: bool = False) -> float:
    """Short-time objective intelligibility, 0 to 1, at 16 kHz (pystoi goes on to 10 kHz by itself).

    Taal, Hendriks, Heusdens, Jensen, IEEE TASLP 19(7), 2011; `extended`: Jensen and Taal, IEEE TASLP 24(11), 2016.
    NaN for a silent reference and for less than 30 frames (0.4 s) of speech.
    """
    import warnings

    from pystoi import stoi as measure

    r, e = (resample(x, rate, WIDE_RATE) for x in _pair(reference, estimate))
    if not r.any():
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi warns and returns 1e-5, which would spoil a mean
        try:
            return float(measure(r, e, WIDE_RATE, extended=extended))
        except RuntimeWarning:
            return math.nan


def _speech_frames(x: Signal, rate: float) -> Signal:
    """30 ms Hann frames every 7.5 ms, `[frames, length]`, as Hu and Loizou's programs cut them."""
    length = round(0.03 * rate)
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, length + 1) / (length + 1)))
    return _frames(x, length, length // 4) * window


def segmental_snr(reference: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """Mean over 30 ms frames of the SNR in dB, each clamped to -10..35 dB.

    Hansen and Pellom, ICSLP 1998; frames and limits as in Loizou, "Speech Enhancement", 2nd ed., 2013, ch. 11.
    """
    r, e = _pair(reference, estimate)
    signal = np.sum(_speech_frames(r, rate) ** 2, axis=1)
    noise = np.sum(_speech_frames(r - e, rate) ** 2, axis=1)
    eps = np.finfo(np.float64).eps
    ratio = 10 * np.log10(signal / (noise + eps) + eps)
    return float(np.clip(ratio, -10, 35).mean()) if len(ratio) else math.nan


def llr(reference: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """Log-likelihood ratio of linear predictors, natural log, mean of the 95 % smallest frames; 0 is equal.

    Quackenbush, Barnwell, Clements, "Objective Measures of Speech Quality", 1988; order 16 (10 below 10 kHz),
    not clamped to 2: that is the form the composite measures were fitted with (Hu and Loizou 2008).
    """
    r, e = _pair(reference, estimate)
    order = 10 if rate < 10_000 else 16
    eps = np.finfo(np.float64).eps  # keeps digital silence from having no predictor at all
    auto, clean = _predictors(_speech_frames(r + eps, rate), order)
    _, other = _predictors(_speech_frames(e + eps, rate), order)
    if not len(clean):
        return math.nan
    matrix = auto[:, np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.einsum("fi,fij,fj->f", other, matrix, other) / np.einsum("fi,fij,fj->f", clean, matrix, clean)
    ratio = np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1000.0)
    return _trimmed_mean(np.log(ratio))


def _predictors(frames: Signal, order: int) -> tuple[Signal, Signal]:
    """Autocorrelation and error filter `[frames, order + 1]` of every frame (Levinson-Durbin over all at once)."""
    auto = np.stack(
        [np.sum(frames[:, : frames.shape[1] - k] * frames[:, k:], axis=1) for k in range(order + 1)], axis=1
    )
    filters = np.zeros_like(auto)
    filters[:, 0] = 1
    error = auto[:, 0].copy()
    tiny = np.finfo(np.float64).tiny
    for i in range(1, order + 1):
        reflection = -np.sum(filters[:, :i] * auto[:, i:0:-1], axis=1) / np.maximum(error, tiny)
        filters[:, 1 : i + 1] += reflection[:, None] * filters[:, i - 1 :: -1][:, :i]
        error *= 1 - reflection**2
    return auto, filters


def _trimmed_mean(values: Signal, keep: float = 0.95) -> float:
    return float(np.sort(values)[: max(1, round(len(values) * keep))].mean())


# Centre and width in Hz of the 25 critical bands of the weighted spectral slope.
# fmt: off
_CENTRES = np.array([
    50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30, 1288.72, 1442.54,
    1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
])
_WIDTHS = np.array([
    70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823, 168.154,
    183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
])
# fmt: on


def wss(reference: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """Weighted spectral slope distance (dB slopes, squared), mean of the 95 % smallest 30 ms frames; 0 is equal.

    Klatt, "Prediction of perceived phonetic distance from critical-band spectra", ICASSP 1982, in the form of
    Loizou's program (full scale = 1). Depends weakly on level through its floor of -100 dB.
    """
    r, e = _pair(reference, estimate)
    (r_slope, r_weight), (e_slope, e_weight) = (_slopes(_speech_frames(x, rate), rate) for x in (r, e))
    if not len(r_slope):
        return math.nan
    weight = (r_weight + e_weight) / 2
    return _trimmed_mean(np.sum(weight * (r_slope - e_slope) ** 2, axis=1) / np.sum(weight, axis=1))


def _slopes(frames: Signal, rate: float) -> tuple[Signal, Signal]:
    """Slopes of the band levels, dB, and Klatt's weights, both `[frames, 24]`."""
    bins = 2 ** math.ceil(math.log2(2 * frames.shape[1])) // 2
    centre, width = np.floor(_CENTRES / (rate / 2) * bins), _WIDTHS / (rate / 2) * bins
    filters = np.exp(-11 * ((np.arange(bins) - centre[:, None]) / width[:, None]) ** 2) * (70 / _WIDTHS)[:, None]
    filters[filters <= math.exp(-30 / (2 * 2.303))] = 0
    power = np.abs(np.fft.rfft(frames, 2 * bins)[:, :bins]) ** 2
    level = 10 * np.log10(np.maximum(power @ filters.T, 1e-10))
    slope = np.diff(level, axis=1)
    # Level near the closest peak: up the slope to the right, or back to the left. The published program takes the
    # band before the summit on a rising slope; the composite weights were fitted with that, so it stays.
    last = slope.shape[1]
    peak = np.empty_like(slope)
    right = level[:, last - 1].copy()
    for n in range(last - 1, -1, -1):
        if n + 1 < last:
            right = np.where(slope[:, n + 1] <= 0, level[:, n], right)
        peak[:, n] = right
    left = level[:, 0].copy()
    for n in range(last):
        rising = slope[:, n] > 0
        left = np.where(rising, level[:, n + 1], left)
        peak[:, n] = np.where(rising, peak[:, n], left)
    overall = 20 / (20 + level.max(axis=1, keepdims=True) - level[:, :-1])
    return slope, overall / (1 + peak - level[:, :-1])


def composite(reference: ArrayLike, estimate: ArrayLike, rate: float, pesq: float | None = None) -> dict[str, float]:
    """`csig`, `cbak`, `covl`: predicted MOS (1 to 5) of signal distortion, background intrusion, overall quality.

    Hu and Loizou, "Evaluation of objective quality measures for speech enhancement", IEEE TASLP 16(1), 2008, at
    16 kHz and with PESQ-WB in the place of P.862 (`pesq`, computed when None), as the literature since SEGAN does.
    """
    r, e = (resample(x, rate, WIDE_RATE) for x in _pair(reference, estimate))
    q = pesq_wb(r, e, WIDE_RATE) if pesq is None else pesq
    ratio, slope, snr = (measure(r, e, WIDE_RATE) for measure in (llr, wss, segmental_snr))
    values = {
        "csig": 3.093 - 1.029 * ratio + 0.603 * q - 0.009 * slope,
        "cbak": 1.634 + 0.478 * q - 0.007 * slope + 0.063 * snr,
        "covl": 1.594 + 0.805 * q - 0.512 * ratio - 0.007 * slope,
    }
    return {name: float(np.clip(value, 1, 5)) for name, value in values.items()}


def log_spectral_distance(reference: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """Log-spectral distance in dB over the full band 0..rate/2: root mean square over bins, mean over frames.

    Gray and Markel, "Distance measures for speech processing", IEEE TASSP 24(5), 1976; 32 ms Hann frames, 8 ms
    step; both power spectra are floored 80 dB under the loudest bin of the reference. NaN for a silent reference.
    """
    r, e = _pair(reference, estimate)
    length, step = round(0.032 * rate), round(0.008 * rate)
    window = np.hanning(length)
    power = [np.abs(np.fft.rfft(_frames(x, length, step) * window)) ** 2 for x in (r, e)]
    if not len(power[0]) or power[0].max() == 0:
        return math.nan
    floor = power[0].max() * 1e-8
    a, b = (10 * np.log10(np.maximum(p, floor)) for p in power)
    return float(np.sqrt(np.mean((a - b) ** 2, axis=1)).mean())


def silence_energies(
    reference: ArrayLike,
    estimate: ArrayLike,
    rate: float,
    frame_s: float = 1.0,
    quiet_db: float | None = None,
    both_silent: bool = True,
) -> tuple[float, float]:
    """PES and EPS in dB: predicted energy where the source is silent, energy of the source where the prediction is.

    Schulze-Forster, Doire, Richard, Badeau, "Weakly informed audio source separation", WASPAA 2019: frames of
    `frame_s` seconds without overlap, 10 log10(sum of squares + 1e-12), mean over frames; -120 dB is perfect for
    PES. `both_silent=False` leaves frames silent in both out of EPS, as the paper does. Silent means exactly zero,
    which recordings and networks never are; with `quiet_db` (ours) it means at least that far below the loudest
    frame of the same signal. NaN where no frame is silent.
    """
    r, e = _pair(reference, estimate)
    length = max(1, round(frame_s * rate))
    source, predicted = (np.sum(_frames(x, length, length) ** 2, axis=1) for x in (r, e))
    limits = [x.max(initial=0) * 10 ** (quiet_db / 10) if quiet_db is not None else 0.0 for x in (source, predicted)]
    silent_source, silent_predicted = source <= limits[0], predicted <= limits[1]
    if not both_silent:
        silent_predicted &= ~silent_source
    return _mean_energy(predicted[silent_source]), _mean_energy(source[silent_predicted])


def _mean_energy(energy: Signal) -> float:
    return float(np.mean(10 * np.log10(energy + 1e-12))) if len(energy) else math.nan


def score(
    reference: ArrayLike, rate: float, estimate: ArrayLike, estimate_rate: float | None = None
) -> dict[str, float]:
    """All `MEASURES` of one pair, by name.

    Args:
        reference: clean signal, `[samples]` at `rate` Hz.
        estimate: `[samples]` at `estimate_rate` Hz (default `rate`), aligned with the reference; after resampling a
            rest or lack of samples at its end is cut or filled with zeros.

    Everything but `lsd` is computed at 16 kHz, `lsd` at `rate`; `pes_quiet` and `eps_quiet` use 50 ms frames 40 dB
    below the loudest one.
    """
    estimate_rate = rate if estimate_rate is None else estimate_rate
    full = np.asarray(reference, dtype=np.float64)
    wide = resample(full, rate, WIDE_RATE)
    guess = _fit(resample(estimate, estimate_rate, WIDE_RATE), len(wide))
    quality = pesq_wb(wide, guess, WIDE_RATE)
    pes, eps = silence_energies(wide, guess, WIDE_RATE)
    quiet = silence_energies(wide, guess, WIDE_RATE, QUIET_FRAME_S, QUIET_DB)
    values = {
        "pesq_wb": quality,
        "pesq_nb": pesq_nb(wide, guess, WIDE_RATE),
        "stoi": stoi(wide, guess, WIDE_RATE),
        "estoi": stoi(wide, guess, WIDE_RATE, extended=True),
        "si_sdr": si_sdr(wide, guess),
        **composite(wide, guess, WIDE_RATE, pesq=quality),
        "segsnr": segmental_snr(wide, guess, WIDE_RATE),
        "lsd": log_spectral_distance(full, _fit(resample(estimate, estimate_rate, rate), len(full)), rate),
        "pes": pes,
        "eps": eps,
        "pes_quiet": quiet[0],
        "eps_quiet": quiet[1],
    }
    return {name: values[name] for name in MEASURES}


def _fit(x: Signal, length: int) -> Signal:
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))


def bootstrap(
    values: Sequence[float] | ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> tuple[float, float, float]:
    """Mean of `values` and its percentile bootstrap interval `(mean, low, high)`; NaNs are left out.

    With `weights` (a word error rate's are the words of a clip) it is their weighted mean, and so is every drawn one's.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13. Seeded, so that a table can be printed
    twice; clips are the unit drawn, so that the interval tells how far another choice of clips could move the mean.
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones(x.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    x, w = x[~np.isnan(x)], w[~np.isnan(x)]
    if not len(x):
        return math.nan, math.nan, math.nan
    draws = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    means = np.average(x[draws], axis=1, weights=w[draws])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(np.average(x, weights=w)), float(low), float(high)
