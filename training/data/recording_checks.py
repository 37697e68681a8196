"""What makes a found recording fit for training: decoding, cutting of silence, and measurements with limits."""

from __future__ import annotations

import io
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

FRAME_S = 0.02  # of level measurements
BANDWIDTH_DB = 72.0  # below the spectral peak ends the band
ACTIVE_DB = 40.0  # below the loud frames a frame is still active
SILENCE_DB = {"speech": 45.0, "vocals": 50.0, "noise": 60.0}  # below the loud frames is silence
LONGEST_S = {"speech": 0.5, "vocals": 1.0, "noise": 1.5}  # of silence that stays whole
GAP_S = 0.25  # what is left of a longer one
LEVEL_DB = -26.0  # of the active frames of what is written, relative to full scale
PEAK = 0.89  # at most, of what is written


@dataclass(frozen=True)
class Limits:
    """What a file must reach: rate and bandwidth in Hz, range and its like in dB, shares from 0 to 1, seconds in s.

    `range_db` is the least distance from loud frames to the noise floor; it counts for speech and vocals.
    """

    rate: int = 8000
    bandwidth: int = 3000
    range_db: float = 30.0
    clipped: float = 0.002
    activity: float = 0.25
    shortest: float = 0.15


@dataclass(frozen=True)
class Facts:
    """What was measured: rate and bandwidth in Hz, the rest as in `Limits`."""

    rate: int
    bandwidth: int
    range_db: float
    clipped: float
    activity: float
    seconds: float


def decode(content: bytes, suffix: str) -> tuple[np.ndarray, int]:
    """Samples float32 `[samples, channels]` and the rate in Hz, by soundfile or else by ffmpeg.

    Raises ValueError with one sentence if neither can read it.
    """
    import soundfile

    if content.startswith(b"version https://git-lfs"):
        raise ValueError("its content lies in Git LFS and not here")
    try:
        if suffix.lower() != ".g722":
            sound, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
            return sound, rate
    except (soundfile.LibsndfileError, TypeError):
        pass
    with tempfile.TemporaryDirectory() as place:
        file, wav = Path(place, f"sound{suffix.lower()}"), Path(place, "decoded.wav")
        file.write_bytes(content)
        form = ["-f", "g722"] if suffix.lower() == ".g722" else []
        words = ["ffmpeg", "-v", "error", "-nostdin", "-y", *form, "-i", str(file), "-map", "0:a:0", str(wav)]
        try:
            done = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError:
            raise ValueError("soundfile cannot read it and ffmpeg is missing") from None
        if done.returncode or not wav.exists():
            raise ValueError("neither soundfile nor ffmpeg can read it")
        sound, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    return sound, rate


def levels(sound: np.ndarray, rate: int) -> np.ndarray:
    """Level of each frame of 20 ms in dB relative to full scale, at least −120; `sound` is mono."""
    size = max(1, round(FRAME_S * rate))
    frames = sound[: len(sound) // size * size].reshape(-1, size)
    return 10 * np.log10(np.maximum((frames.astype(np.float64) ** 2).mean(axis=1), 1e-12))


def bandwidth(sound: np.ndarray, rate: int) -> int:
    """Highest frequency in Hz within 72 dB of the peak of the mean spectrum (of 200 Hz wide bands)."""
    size = 2048
    if len(sound) < size:
        sound = np.pad(sound, (0, size - len(sound)))
    count = (len(sound) - size) // (size // 2) + 1
    chosen = np.unique(np.linspace(0, count - 1, min(count, 1500)).astype(int)) * (size // 2)
    window = np.hanning(size).astype(np.float32)
    power = np.zeros(size // 2 + 1)
    for start in range(0, len(chosen), 256):
        frames = sound[chosen[start : start + 256, None] + np.arange(size)] * window
        power += (np.abs(np.fft.rfft(frames, axis=1)) ** 2).sum(axis=0)
    width = max(1, round(200 * size / rate))
    smooth = np.convolve(power, np.ones(width) / width, "same")
    within = np.flatnonzero(smooth > smooth.max() * 10 ** (-BANDWIDTH_DB / 10))
    return int(within[-1] * rate / size) if len(within) and smooth.max() > 0 else 0


def clipped_share(sound: np.ndarray) -> float:
    """Share of samples in runs of three and more at the same extreme level near full scale."""
    peak = float(np.abs(sound).max(initial=0.0))
    if peak < 0.98:
        return 0.0
    full = np.abs(sound) > 0.9995 * min(peak, 1.0)
    runs = full[2:] & full[1:-1] & full[:-2]
    return float(runs.mean()) if len(runs) else 0.0


def measure(sound: np.ndarray, rate: int) -> Facts:
    """What there is to know of a mono recording, before its silence is cut."""
    level = levels(sound, rate)
    if not len(level):
        return Facts(rate, 0, 0.0, 0.0, 0.0, len(sound) / rate)
    loud, quiet = float(np.percentile(level, 95)), float(np.percentile(level, 5))
    activity = float((level > loud - ACTIVE_DB).mean()) if loud > -90 else 0.0
    return Facts(rate, bandwidth(sound, rate), loud - quiet, clipped_share(sound), activity, len(sound) / rate)


def reason_against(facts: Facts, kind: str, limits: Limits) -> str:
    """Why a file is not taken, or nothing."""
    if facts.seconds < limits.shortest:
        return "too short"
    if facts.rate < limits.rate:
        return "sampled too slowly"
    if facts.activity == 0:
        return "silent"
    if facts.bandwidth < limits.bandwidth and kind != "noise":
        return "too narrow"
    if facts.clipped > limits.clipped:
        return "clipped"
    if kind in ("speech", "vocals") and facts.range_db < limits.range_db:
        return "noisy"
    return "" if facts.activity >= limits.activity else "mostly silent"


def cut_silence(sound: np.ndarray, rate: int, kind: str) -> np.ndarray:
    """The mono sound without leading and trailing silence, and with 0.25 s left of each long one between."""
    level = levels(sound, rate)
    if not len(level):
        return sound
    loud = float(np.percentile(level, 95))
    size = round(FRAME_S * rate)
    active = np.flatnonzero(level > max(loud - SILENCE_DB[kind], -100.0))
    if not len(active):
        return sound[:0]
    margin, longest, half = 2, LONGEST_S[kind] / FRAME_S, round(GAP_S / 2 / FRAME_S)
    pieces, first = [], max(0, active[0] - margin)
    for before, after in pairwise(active):
        if after - before > longest:
            pieces.append(sound[first * size : (before + half) * size])
            first = after - half
    last = active[-1] + 1 + margin
    pieces.append(sound[first * size : last * size if last < len(level) else len(sound)])
    fade = max(1, round(0.005 * rate))
    return np.concatenate([faded(piece, fade) for piece in pieces])


def faded(sound: np.ndarray, size: int) -> np.ndarray:
    """`sound` with linear fades of `size` samples at both ends, so that joints do not click."""
    size = min(size, len(sound) // 2)
    ramp = np.linspace(0, 1, size, endpoint=False, dtype=np.float32)
    sound = sound.astype(np.float32, copy=True)
    sound[:size] *= ramp
    sound[len(sound) - size :] *= ramp[::-1]
    return sound


def levelled(sound: np.ndarray, rate: int) -> np.ndarray:
    """`sound` with its active frames at −26 dB and no peak above 0.89 (then quieter)."""
    level = levels(sound, rate)
    if not len(level):
        return sound
    active = level[level > np.percentile(level, 95) - ACTIVE_DB]
    mean = 10 * np.log10(np.mean(10 ** (active / 10)))
    gain = min(10 ** ((LEVEL_DB - mean) / 20), PEAK / max(float(np.abs(sound).max()), 1e-6))
    return (sound * gain).astype(np.float32)
