"""The cells of benchmarks/robustness.py: one thing each that phones, rooms, microphones and people do to speech.

A cell turns a voice and a noise into a reference, a clean and a noisy input. What a line does (band, level, clipping,
codec, packet loss) it does to all three alike, so that the reference is what the far end would have heard of the voice
alone: a denoiser should give that back, no more. Every function takes and gives float32 `[samples]` at RATE.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfiltfilt

from training.data.appliance_noise import fan, mains
from training.data.augment.far_rooms import far_rooms
from training.data.augment.whisper import whispered
from training.data.speech_mixer import active_power
from training.evaluation.speech_metrics import resample

RATE = 48000  # Hz
LEVEL = -26.0  # dBFS of active speech, where no cell says otherwise
HIGH_PASS = (80, 120, 200, 300, 400, 500)  # Hz
LOW_PASS = (2500, 3000, 3400, 4000, 6000, 8000, 12000, 20000)
PEAKS = (0, -15, -30, -45, -60)  # dBFS

Audio = NDArray[np.float32]
Line = Callable[[Audio], Audio]
Voice = Callable[[Audio, np.random.Generator], Audio]


def same(sound: Audio) -> Audio:
    """What a perfect line does."""
    return sound


def same_voice(sound: Audio, rng: np.random.Generator) -> Audio:
    """A voice as it was recorded."""
    return sound


@dataclass(frozen=True)
class Cell:
    """`voice` changes the speaker, `added` comes to both inputs and not to the reference, `line` changes all alike.

    `noise` (of samples) takes the place of recorded noise. `clean_bar` and `noisy_bar` say whether the issue's bar
    holds; `source` is the kind of recording that is the voice; `encoder` is what ffmpeg needs. Cells without a voice
    and those of two voices are only reported.
    """

    name: str
    voice: Voice = same_voice
    line: Line = same
    added: Voice | None = None
    noise: Voice | None = None
    clean_bar: bool = False
    noisy_bar: bool = True
    source: str = "speech"
    encoder: str = ""
    peak: float | None = None  # dBFS of each input, reference lowered with the noisy one


def active_level(sound: Audio, rate: int = RATE) -> float:
    """Active level in dBFS; −200 for silence."""
    return float(10 * torch.log10(active_power(torch.from_numpy(sound)[None], rate).clamp(min=1e-20))[0])


def at_level(sound: Audio, level: float) -> Audio:
    """`sound` at an active level in dBFS; silence stays."""
    own = active_level(sound)
    return sound if own <= -190 else sound * np.float32(10 ** ((level - own) / 20))


# --- lines


def band(low: float, high: float, sound: Audio) -> Audio:
    """Between `low` and `high` Hz, a Butterworth of order 6 forwards and backwards; 0 or RATE / 2 is no limit."""
    kind, edges = (
        ("bandpass", (low, high)) if low and high < RATE / 2 else ("highpass", low) if low else ("lowpass", high)
    )
    return sosfiltfilt(butter(6, edges, kind, fs=RATE, output="sos"), sound).astype(np.float32)


def clipped(limit: float, sound: Audio) -> Audio:
    """Cut at ±`limit`."""
    return np.clip(sound, -limit, limit)


def g711(subtype: str, sound: Audio) -> Audio:
    """8 kHz, 300 to 3400 Hz, `ULAW` or `ALAW` of libsndfile, or its `GSM610` (GSM full rate)."""
    narrow = resample(band(300, 3400, sound), RATE, 8000)
    file = io.BytesIO()
    soundfile.write(file, np.clip(narrow, -1, 1), 8000, subtype=subtype, format="WAV")
    file.seek(0)
    return _fitted(resample(soundfile.read(file)[0], 8000, RATE), len(sound))


def by_ffmpeg(encoder: str, suffix: str, kbps: float, rate: int, sound: Audio) -> Audio:
    """Coded and decoded by ffmpeg at `rate` Hz and `kbps` kbit/s, mono."""
    with tempfile.TemporaryDirectory() as folder:
        plain, coded = Path(folder, "plain.wav"), Path(folder, f"coded{suffix}")
        soundfile.write(plain, np.clip(resample(sound, RATE, rate), -1, 1), rate, subtype="FLOAT")
        _ffmpeg("-i", plain, "-c:a", encoder, "-b:a", f"{kbps}k", coded)
        _ffmpeg("-i", coded, "-ar", RATE, "-c:a", "pcm_f32le", "-y", plain)
        return _fitted(soundfile.read(plain)[0], len(sound))


def packets_lost(sound: Audio, share: float = 0.05) -> Audio:
    """Packets of 20 ms of which a `share` is lost and left silent, the same ones whatever the sound."""
    size = RATE // 50
    kept = np.random.default_rng(5).random(len(sound) // size + 1) >= share
    return sound * np.repeat(kept, size)[: len(sound)].astype(np.float32)


@cache
def encoders() -> frozenset[str]:
    """Names of what this machine's ffmpeg can encode; none without ffmpeg."""
    if not shutil.which("ffmpeg"):
        return frozenset()
    listed = subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, text=True).stdout
    return frozenset(line.split()[1] for line in listed.splitlines() if len(line.split()) > 1)


def _ffmpeg(*words: object) -> None:
    subprocess.run(["ffmpeg", "-loglevel", "error", "-nostdin", *map(str, words)], check=True, capture_output=True)


def _fitted(sound: NDArray[np.float64], samples: int) -> Audio:
    return np.pad(sound, (0, max(0, samples - len(sound))))[:samples].astype(np.float32)


# --- voices


def far(voice: Audio, rng: np.random.Generator) -> Audio:
    """A talker across a large room."""
    room = far_rooms(8, RATE, 11)[rng.integers(8)]
    return fftconvolve(voice, room)[: len(voice)].astype(np.float32)


def whisper(voice: Audio, rng: np.random.Generator) -> Audio:
    """The same words without vocal folds."""
    return whispered(torch.from_numpy(voice)[None], RATE, rng)[0].numpy()


def raised(speed: float, voice: Audio, rng: np.random.Generator) -> Audio:
    """Played faster: pitch and formants go up together, 1.35 as of a child."""
    return _fitted(resample(voice, RATE, round(RATE / speed)), len(voice))


def shout(voice: Audio, rng: np.random.Generator) -> Audio:
    """Higher, brighter (6 dB an octave from 500 Hz to 4 kHz) and pressed."""
    spectrum = np.fft.rfft(raised(1.2, voice, rng))
    hertz = np.arange(len(spectrum)) * (RATE / len(voice))
    bright = np.fft.irfft(spectrum * np.clip(hertz / 500, 1, 8), len(voice))
    return np.tanh(2 * bright / (np.abs(bright).max() + 1e-9)).astype(np.float32)


def short_words(voice: Audio, rng: np.random.Generator) -> Audio:
    """A third of a second, two times, in silence."""
    heard = np.zeros_like(voice)
    size = int(0.35 * RATE)
    power = np.convolve(np.square(voice), np.ones(size), "valid")
    loudest = int(power.argmax())
    word = voice[loudest : loudest + size] * np.hanning(size).astype(np.float32) ** np.float32(0.3)
    for place in (0.3, 0.7):
        begin = int(place * (len(voice) - size))
        heard[begin : begin + size] = word
    return heard


# --- what is added, and noise


def offset(voice: Audio, rng: np.random.Generator) -> Audio:
    """A constant of −26 dBFS."""
    return np.full_like(voice, 0.05)


def humming(under: float, voice: Audio, rng: np.random.Generator) -> Audio:
    """The mains, `under` dB under active speech."""
    hum = mains(rng, len(voice), RATE)
    return hum * np.float32(10 ** ((active_level(voice) - under) / 20) / hum.std())


def laptop(voice: Audio, rng: np.random.Generator) -> Audio:
    """A fan."""
    return fan(rng, len(voice), RATE).astype(np.float32)


def cells() -> list[Cell]:
    """All of them, in the order of the table."""
    found = [Cell("as recorded", clean_bar=True)]
    found += [Cell(f"high-pass {f} Hz", line=partial(band, f, RATE), clean_bar=f <= 300) for f in HIGH_PASS]
    found += [Cell(f"low-pass {f} Hz", line=partial(band, 0, f), clean_bar=f >= 3000) for f in LOW_PASS]
    found += [
        Cell(f"band {low} to {high} Hz", line=partial(band, low, high), clean_bar=True)
        for low, high in ((200, 3400), (300, 3000), (300, 3400))
    ]
    found += [Cell(f"peak {peak} dBFS", peak=peak, clean_bar=peak >= -45) for peak in PEAKS]
    found += [Cell(f"clipped at {limit:g}", line=partial(clipped, limit)) for limit in (0.2, 0.05)]
    for title, subtype in (("G.711 µ-law", "ULAW"), ("G.711 A-law", "ALAW"), ("GSM", "GSM610")):
        found.append(Cell(title, line=partial(g711, subtype), clean_bar=subtype != "GSM610"))
    for title, encoder, suffix, kbps, rate, bar in (
        ("AMR 12.2 kbit/s", "libopencore_amrnb", ".amr", 12.2, 8000, False),
        ("Opus 8 kbit/s", "libopus", ".opus", 8, 16000, True),
        ("MP3 32 kbit/s", "libmp3lame", ".mp3", 32, 22050, False),
    ):
        line = partial(by_ffmpeg, encoder, suffix, kbps, rate)
        found.append(Cell(title, line=line, clean_bar=bar, encoder=encoder))
    return [
        *found,
        Cell("constant offset", added=offset, clean_bar=True),
        *(
            Cell(f"mains hum at -{under} dB", added=partial(humming, under), clean_bar=under >= 20)
            for under in (30, 10)
        ),
        Cell("packets lost", line=packets_lost, noisy_bar=False),
        Cell("laptop fan", noise=laptop),
        Cell("far room", voice=far),
        Cell("whisper", voice=whisper),
        Cell("shout", voice=shout),
        Cell("singing", source="vocals"),
        Cell("child", voice=partial(raised, 1.35)),
        Cell("very short words", voice=short_words),
        Cell("two voices", source="pair", noisy_bar=False),
        Cell("silence", source="silence", noisy_bar=False),
        Cell("noise alone", source="noise", noisy_bar=False),
        Cell("music on hold", source="music", noisy_bar=False),
    ]
