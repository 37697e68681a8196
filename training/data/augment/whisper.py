"""Whispers made of voiced speech: the envelope of its spectrum, excited by noise instead of the vocal folds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def whispered(speech: Tensor, rate: int, rng: np.random.Generator) -> Tensor:
    """`[batch, samples]` → the same words whispered, of the same level; envelopes are some 400 Hz wide.

    Frames of 21 ms; the fundamental's region is weakened, as whispers have none.
    """
    size = 2 ** round(np.log2(rate * 0.021))
    window = torch.hann_window(size, device=speech.device)
    spectrum = torch.stft(speech, size, size // 4, window=window, return_complex=True, pad_mode="constant")
    power = spectrum.abs().square()
    width = 2 * round(200 * size / rate) + 1
    envelope = torch.nn.functional.avg_pool1d(
        power.transpose(1, 2), width, 1, width // 2, count_include_pad=False
    ).transpose(1, 2)
    noise = torch.from_numpy(rng.standard_normal(speech.shape, dtype=np.float32)).to(speech.device)
    excitation = torch.stft(noise, size, size // 4, window=window, return_complex=True, pad_mode="constant")
    hertz = torch.arange(spectrum.shape[1], device=speech.device)[:, None] * (rate / size)
    folds = torch.rsqrt(1 + (500 / hertz.clamp(min=1)) ** 4)
    whisper = torch.istft(excitation * envelope.sqrt() * folds, size, size // 4, window=window, length=speech.shape[-1])
    loud = speech.square().mean(-1, keepdim=True).sqrt()
    return whisper * (loud / whisper.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-9))
