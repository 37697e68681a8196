"""Copies of songs made ahead of time: other pitch and tempo (Rubber Band), and what MP3 and Opus leave (LAME, libopus).

All by ffmpeg. Mixing on the fly varies the speed as well, without artefacts but pitch and tempo together; what costs
too much there, or cannot be done on parts at all, is done here once.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

CODECS = {"mp3": ("libmp3lame", ".mp3"), "opus": ("libopus", ".opus")}
WINDOW = 2048  # samples of the analysis that shares a codec's error out


@dataclass(frozen=True)
class Copy:
    """`semitones` up (formants kept), `tempo` as a factor of speed, then `codec` (mp3 or opus) at `kbps` in stereo."""

    semitones: float = 0.0
    tempo: float = 1.0
    codec: str = ""
    kbps: int = 128

    def __post_init__(self) -> None:
        if self.codec and self.codec not in CODECS:
            raise ValueError(f"codec must be one of {', '.join(CODECS)}, not {self.codec!r}.")
        if not (abs(self.semitones) <= 12 and 0.5 <= self.tempo <= 2 and 16 <= self.kbps <= 320):
            raise ValueError("A copy has at most 12 semitones, tempo 0.5 to 2 and 16 to 320 kbit/s.")


def varied(parts: np.ndarray, rate: int, copy: Copy) -> np.ndarray:
    """The copy of one song: `parts` float32 `[parts, 2, samples]` in, as many out; tempo changes their length.

    Raises ValueError with one sentence if ffmpeg cannot do it.
    """
    if copy.semitones or copy.tempo != 1:
        parts = stretched(parts, rate, copy.semitones, copy.tempo)
    return coded(parts, rate, copy.codec, copy.kbps) if copy.codec else parts


def stretched(parts: np.ndarray, rate: int, semitones: float, tempo: float) -> np.ndarray:
    """Rubber Band on all parts as channels of one sound: they are cut at the same moments and stay together."""
    count = parts.shape[0] * parts.shape[1]
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", str(count)]
    if count > 2:  # a layout with this many channels that nothing wants to mix down
        raw += ["-channel_layout", {4: "4.0", 6: "6.0", 8: "octagonal"}[count]]
    pitch = 2 ** (semitones / 12)
    way = f"rubberband=tempo={tempo}:pitch={pitch:.6f}:channels=together:formant=preserved:pitchq=quality"
    sound = ffmpeg([*raw, "-i", "-", "-af", way, "-f", "f32le", "-"], parts.reshape(count, -1).T)
    return np.ascontiguousarray(np.frombuffer(sound, np.float32).reshape(-1, count).T).reshape(*parts.shape[:2], -1)


def coded(parts: np.ndarray, rate: int, codec: str, kbps: int) -> np.ndarray:
    """The parts as they lie in the coded mixture: their sum is what the decoder gives for the mixture, exactly.

    A listener has one coded file, so the codec must hear the mixture and not the parts. Per channel and in an STFT,
    decoded = gain × mixture + error, the gain (one a bin, by least squares over the song) being the codec's band limit.
    Each part gets the gain, and of the error the share of its power in that bin: noise that a codec hides under the
    voice goes with the voice.
    """
    mixture = parts.sum(0)
    # A codec clips what is over full scale; keep room.
    scale = 0.9 / max(0.9, float(np.abs(mixture).max()))
    decoded = _through(mixture * scale, rate, codec, kbps) / scale
    result = np.empty_like(parts)
    for channel in range(parts.shape[1]):
        stems = [_stft(part[channel]) for part in parts]
        total, heard = torch.stack(stems).sum(0), _stft(decoded[channel])
        power = total.abs().square().sum(-1, keepdim=True)
        gain = (heard * total.conj()).sum(-1, keepdim=True) / (power + 1e-9)
        error = heard - gain * total
        shares = torch.stack([stem.abs().square() for stem in stems])
        shares /= shares.sum(0) + 1e-12
        for index, stem in enumerate(stems):
            result[index, channel] = _istft(gain * stem + shares[index] * error, parts.shape[-1])
    return result


def _through(mixture: np.ndarray, rate: int, codec: str, kbps: int) -> np.ndarray:
    """What the decoder gives for `[2, samples]`, aligned and as long: both formats say how much padding they carry."""
    encoder, suffix = CODECS[codec]
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "2"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"mixture{suffix}"
        ffmpeg([*raw, "-i", "-", "-c:a", encoder, "-b:a", f"{kbps}k", str(file)], mixture.T)
        sound = ffmpeg(["-i", str(file), *raw, "-"])
    decoded = np.frombuffer(sound, np.float32).reshape(-1, 2).T[:, : mixture.shape[1]]
    return np.pad(decoded, ((0, 0), (0, mixture.shape[1] - decoded.shape[1])))


def _stft(wave: np.ndarray) -> torch.Tensor:
    window = torch.hann_window(WINDOW)
    return torch.stft(torch.from_numpy(wave), WINDOW, WINDOW // 2, window=window, return_complex=True)


def _istft(spectrum: torch.Tensor, samples: int) -> np.ndarray:
    return torch.istft(spectrum, WINDOW, WINDOW // 2, window=torch.hann_window(WINDOW), length=samples).numpy()


def ffmpeg(words: list[str], sound: np.ndarray | None = None) -> bytes:
    """What ffmpeg writes to its output, given `sound` float32 on its input; raises ValueError with one sentence."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin" if sound is None else "-y", *words]
    data = None if sound is None else np.ascontiguousarray(sound, dtype=np.float32).tobytes()
    try:
        done = subprocess.run(command, input=data, capture_output=True)
    except FileNotFoundError:
        raise ValueError("Songs are read and copied by ffmpeg, which is not installed; install it.") from None
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
        raise ValueError(f"ffmpeg cannot do this: {reason}")
    return done.stdout
