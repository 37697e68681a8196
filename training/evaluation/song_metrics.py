"""How well vocals and accompaniment were taken apart: measures on stereo stems and their estimates.

Every signal is `[samples, channels]`, full scale 1, all of one song aligned and equally long; everything is in dB.
A measure that is undefined for a song (no vocals, a silent estimate) is NaN and is left out of medians.

Passages are told by the true vocals alone, in frames of 0.1 s over all channels: a frame is *voiced* where it lies
less than 30 dB under the loudest one, and *free* where it and all frames within 0.5 s lie more than 60 dB under it.
What is neither (breath, reverberation) counts for nothing.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from training.evaluation import speech_metrics as scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Signal = NDArray[np.float64]
    Flags = NDArray[np.bool_]

FRAME_S = 0.1
VOICED_DB, FREE_DB = -30.0, -60.0
AROUND = 5  # frames on either side that must be as quiet as a free one
CEILING_DB = 120.0  # nothing left is written as this much
DITHER = 1e-5  # full scale 1
BALANCE_LIMIT_DB = 30.0  # one side lost

#: measure -> (column title, decimals)
MEASURES: dict[str, tuple[str, int]] = {
    "sdr": ("SDR", 2),
    "voiced_sdr": ("SDR where the voice sings", 2),
    "sir": ("SIR", 2),
    "sar": ("SAR", 2),
    "isr": ("ISR", 2),
    "vocals_sdr": ("vocals SDR", 2),
    "si_sdr": ("SI-SDR", 2),
    "suppression": ("voice down", 1),
    "damage": ("change where no voice is", 1),
    "pes": ("PES", 1),
    "eps": ("EPS", 1),
    "balance": ("balance error", 2),
}


def _stereo(x: ArrayLike) -> Signal:
    signal = np.asarray(x, dtype=np.float64)
    if signal.ndim != 2 or not len(signal) or not np.isfinite(signal).all():
        raise ValueError(f"a stem must be finite, not empty and [samples, channels], not {signal.shape}")
    return signal


def _framed(x: Signal, length: int) -> Signal:
    """Energy of whole frames `[frames]`, over all channels; a rest shorter than a frame is dropped."""
    count = len(x) // length
    return np.square(x[: count * length]).reshape(count, -1).sum(axis=1)


def _decibels(ratio: float) -> float:
    return 10 * math.log10(ratio) if ratio > 0 else -CEILING_DB


def passages(vocals: ArrayLike, rate: float) -> tuple[Flags, Flags]:
    """`(voiced, free)`, both `[frames of 0.1 s]`, by the rule at the head of this file; silence is free throughout."""
    energy = _framed(_stereo(vocals), round(FRAME_S * rate))
    loudest = energy.max(initial=0.0)
    if loudest == 0:
        return np.zeros(len(energy), bool), np.ones(len(energy), bool)
    voiced = energy > loudest * 10 ** (VOICED_DB / 10)
    heard = energy > loudest * 10 ** (FREE_DB / 10)
    return voiced, np.convolve(heard, np.ones(2 * AROUND + 1), "same") == 0 if len(heard) else ~heard


def bss_eval(references: Sequence[ArrayLike], estimates: Sequence[ArrayLike], rate: float) -> dict[str, list[float]]:
    """`sdr`, `isr`, `sir`, `sar` of every source: BSSEval v4 by `museval`, median over frames of 1 s.

    Stöter, Liutkus, Ito, "The 2018 signal separation evaluation campaign", LVA/ICA 2018: one distortion filter of 512
    taps for the whole song; frames in which a reference or an estimate is silent are left out. An estimate that is
    silent throughout counts as the noise below; NaN for every source when a reference is.

    Noise of -100 dB full scale, that of a 16-bit file, is added to every signal that sounds: in the bands that a lossy
    coder leaves empty the filters would else take any size, and the edges of the frames, which reach into these bands,
    turn that into an SIR and SAR of nothing (20 dB off on an ideal mask). The SDR knows no filters and stays.
    """
    import museval

    truth, guess = (np.stack([_stereo(x) for x in signals]) for signals in (references, estimates))
    names = ("sdr", "isr", "sir", "sar")
    if not truth.any(axis=(1, 2)).all():
        return {name: [math.nan] * len(truth) for name in names}
    second = round(rate)
    draw = np.random.default_rng(0).standard_normal
    for signals in (truth, guess):
        signals += DITHER * draw(signals.shape) * _sounding(signals, second)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = museval.evaluate(truth, guess, win=second, hop=second)
        return {name: np.nanmedian(values, axis=1).tolist() for name, values in zip(names, found, strict=True)}


def _sounding(signals: Signal, length: int) -> NDArray[np.bool_]:
    """`[sources, samples, 1]`: whether anything but zeros is in a sample's frame (all of them when nothing is)."""
    frames = -(-signals.shape[1] // length)
    loud = np.zeros((len(signals), frames * length), bool)
    loud[:, : signals.shape[1]] = signals.any(axis=2)
    loud[~loud.any(axis=1)] = True
    return np.repeat(loud.reshape(len(signals), frames, length).any(axis=2), length, axis=1)[
        :, : signals.shape[1], None
    ]


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """SI-SDR (see `scores.si_sdr`) with one scale for all channels, so that a lost balance counts as an error."""
    return scores.si_sdr(_stereo(reference).ravel(), _stereo(estimate).ravel())


def _voiced_seconds(vocals: Signal, rate: float) -> Flags:
    """`[seconds]`: whether at least half of a second is voiced."""
    voiced, _ = passages(vocals, rate)
    size = round(1 / FRAME_S)
    count = len(voiced) // size
    return 2 * voiced[: count * size].reshape(count, size).sum(axis=1) >= size


def voiced_sdr(reference: ArrayLike, estimate: ArrayLike, vocals: ArrayLike, rate: float) -> float:
    """BSSEval v4's SDR (which has no filters), median over the seconds of which half is voiced; NaN without any.

    `sdr` counts every second in which the stems are not digitally silent, and a lossy coder leaves none that are: in
    the passages without a voice the input is then perfect, and no method can but lose.
    """
    r, e = _stereo(reference), _stereo(estimate)
    length = round(rate)
    seconds = _voiced_seconds(_stereo(vocals), rate)
    signal, error = (_framed(x, length)[: len(seconds)][seconds] for x in (r, e - r))
    if not len(signal):
        return math.nan
    with np.errstate(divide="ignore"):
        return float(np.median(10 * np.log10(signal) - 10 * np.log10(np.maximum(error, signal * 1e-12))))


def suppression(vocals: ArrayLike, accompaniment: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """By how many dB the voice in `estimate` (of the accompaniment) is below the true one, in voiced passages.

    What is left of the voice is found as BSSEval finds interference, by projecting the estimate on the true stems
    (all channels of both), but band by band (about 1/12 octave, at least 94 Hz wide) and second by second, for a
    time-frequency mask is no filter of 512 taps. Energies are summed over all seconds of which half is voiced.
    120 when nothing is left, NaN without such seconds.
    """
    v, a, e = _stereo(vocals), _stereo(accompaniment), _stereo(estimate)
    second = round(rate)
    left = true = 0.0
    for number in np.flatnonzero(_voiced_seconds(v, rate)):
        part = slice(number * second, (number + 1) * second)
        kept, before = _voice_left(v[part], a[part], e[part], rate)
        left, true = left + kept, true + before
    if true == 0:
        return math.nan
    return min(CEILING_DB, -_decibels(left / true))


def _voice_left(v: Signal, a: Signal, e: Signal, rate: float) -> tuple[float, float]:
    """Energy of the voice in the estimate `e`, and of the voice itself, of one second."""
    length = 1 << round(math.log2(4096 * rate / 48_000))
    window = np.hanning(length + 1)[:-1]

    def spectra(x: Signal) -> NDArray[np.complex128]:
        frames = np.lib.stride_tricks.sliding_window_view(x, length, axis=0)[:: length // 4]
        return np.fft.rfft(frames * window)  # [frames, channels, bins]

    voice, band_sound, mixed = spectra(v), spectra(a), spectra(e)
    known = np.concatenate([voice, band_sound], axis=1)
    starts = _bands(known.shape[2])
    gram = np.add.reduceat(np.einsum("tib,tjb->bij", known.conj(), known), starts)
    aim = np.add.reduceat(np.einsum("tib,tjb->bij", known.conj(), mixed), starts)
    ridge = 1e-9 * np.trace(gram, axis1=1, axis2=2).real + 1e-30
    weights = np.linalg.solve(gram + ridge[:, None, None] * np.eye(gram.shape[1]), aim)[:, : voice.shape[1]]
    own = gram[:, : voice.shape[1], : voice.shape[1]]
    left = np.einsum("bij,bik,bkj->", weights.conj(), own, weights).real
    return float(left), float(np.trace(own, axis1=1, axis2=2).real.sum())


def _bands(bins: int) -> NDArray[np.int64]:
    """First bin of every band: 8 bins wide, or 1/12 octave where that is more."""
    starts = [0]
    while (step := max(8, round(starts[-1] * (2 ** (1 / 12) - 1)))) + starts[-1] <= bins - 8:
        starts.append(starts[-1] + step)
    return np.array(starts, np.int64)


def damage(mixture: ArrayLike, estimate: ArrayLike, vocals: ArrayLike, rate: float) -> float:
    """Energy of what `estimate` changes in free passages, in dB against the mixture there; NaN without any."""
    m, e = _stereo(mixture), _stereo(estimate)
    length = round(FRAME_S * rate)
    _, free = passages(vocals, rate)
    whole, change = (float(_framed(x, length)[free].sum()) for x in (m, e - m))
    return max(-CEILING_DB, _decibels(change / whole)) if whole else math.nan


def balance(reference: ArrayLike, estimate: ArrayLike, rate: float) -> float:
    """Mean over seconds of how far the level of left against right is from the reference's, dB, at most 30 each.

    Seconds in which a channel of the reference is more than 40 dB under its loudest second are left out.
    """
    r, e = _stereo(reference), _stereo(estimate)
    if r.shape[1] != 2:
        return math.nan
    second = round(rate)
    truth, guess = (np.stack([_framed(x[:, [c]], second) for c in (0, 1)]) for x in (r, e))
    sound = (truth > 1e-4 * truth.max(initial=0.0)).all(axis=0) & guess.any(axis=0)
    if not sound.any():
        return math.nan
    tiny = np.finfo(np.float64).tiny
    lean = [10 * np.log10(np.maximum(x[0], tiny) / np.maximum(x[1], tiny)) for x in (truth, guess)]
    return float(np.minimum(np.abs(lean[1] - lean[0]), BALANCE_LIMIT_DB)[sound].mean())


def score(
    vocals: ArrayLike, accompaniment: ArrayLike, vocals_estimate: ArrayLike, estimate: ArrayLike, rate: float
) -> dict[str, float]:
    """All `MEASURES` of one song, by name; `estimate` is that of the accompaniment, which all but three are about.

    `vocals_sdr`, and `pes` and `eps` (`scores.silence_energies`, frames of 1 s over both channels, silent meaning 60 dB
    under the loudest frame), are about the vocals.
    """
    v, a, v_guess, a_guess = (_stereo(x) for x in (vocals, accompaniment, vocals_estimate, estimate))
    found = bss_eval([a, v], [a_guess, v_guess], rate)
    # Interleaved channels at twice the rate are the same frames.
    pes, eps = scores.silence_energies(v.ravel(), v_guess.ravel(), v.shape[1] * rate, 1.0, FREE_DB)
    values = {
        "voiced_sdr": voiced_sdr(a, a_guess, v, rate),
        **{name: found[name][0] for name in ("sdr", "sir", "sar", "isr")},
        "vocals_sdr": found["sdr"][1],
        "si_sdr": si_sdr(a, a_guess),
        "suppression": suppression(v, a, a_guess, rate),
        "damage": damage(v + a, a_guess, v, rate),
        "pes": pes,
        "eps": eps,
        "balance": balance(a, a_guess, rate),
    }
    return {name: values[name] for name in MEASURES}


def median(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median over songs of every measure; NaNs are left out, NaN where nothing else is."""
    result = {}
    for name in MEASURES:
        values = [row[name] for row in rows if not math.isnan(row[name])]
        result[name] = float(np.median(values)) if values else math.nan
    return result
