"""A small classifier of sound events, and the loss of estimates that it listens to, frozen.

Weak labels, whether a class is in a clip at all, are enough to learn to separate: an estimate of a class must sound
like that class where it is in the clip, and like nothing else (Pishdadian, Wichern & Le Roux 2020, arXiv 1911.02182).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.losses.frozen import read_frozen
from training.losses.loss import PRESENT, Context, Loss, Setup, Sound

RATE, WINDOW, BANDS = 16000, 512, 64
KIND, TOOL = "event classifier", "event_classifier"


class EventClassifier(nn.Module):
    """Waveforms `[batch, samples]` at `rate` Hz (16 or 48 kHz) → logits of each class, a frame of 64 ms at a time.

    Log mel energies → four convolutions, each halving time and frequency but the last → a linear layer. `forward` gives
    `[batch, frames, classes]`; `clip` pools them over time to `[batch, classes]` by log-mean-exp, which a short event
    moves too.
    """

    bands: Tensor
    window: Tensor

    def __init__(self, classes: tuple[str, ...], rate: int, width: int = 16):
        super().__init__()
        if rate not in (RATE, 3 * RATE):
            raise ValueError(f"an event classifier hears 16000 or 48000 Hz, not {rate}.")
        self.classes, self.rate, self.width = classes, rate, width
        self.size = WINDOW * rate // RATE
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)
        self.register_buffer("bands", mel_bands(rate, self.size), persistent=False)
        sizes = [1, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(sizes))
        self.out = nn.Linear(sizes[-1] * BANDS // 8, len(classes))

    def forward(self, wave: Tensor) -> Tensor:
        hop = self.size // 4
        spectrum = torch.stft(wave, self.size, hop, window=self.window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2) / self.size  # [batch, frames, bins]
        x = ((power @ self.bands + 1e-6).log() / 5).unsqueeze(1)
        for layer in self.layers:
            x = F.max_pool2d(F.leaky_relu(layer(x), 0.1), 2)
        return self.out(x.permute(0, 2, 1, 3).flatten(2))

    def clip(self, wave: Tensor) -> Tensor:
        """Logits of the whole clip, `[batch, classes]`."""
        frames = self(wave)
        return frames.logsumexp(1) - math.log(frames.shape[1])

    def packed(self) -> dict[str, Any]:
        """What a file of it holds."""
        about = {"kind": KIND, "classes": list(self.classes), "rate": self.rate, "width": self.width}
        return about | {"weights": self.state_dict()}


def read_classifier(file: str) -> EventClassifier:
    """The classifier in a file, frozen; raises ValueError with one sentence."""
    found = read_frozen(file, KIND, TOOL)
    made = EventClassifier(tuple(found["classes"]), found["rate"], found["width"])
    made.load_state_dict(found["weights"])
    return made.eval().requires_grad_(False)


def mel_bands(rate: int, size: int) -> Tensor:
    """Triangles on the mel scale from 50 to 7600 Hz over the bins of a window of `size`, `[bins, BANDS]`."""
    mel = torch.linspace(2595 * math.log10(1 + 50 / 700), 2595 * math.log10(1 + 7600 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = torch.arange(size // 2 + 1)[:, None] * rate / size
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    bands = torch.minimum(rising, falling).clamp(min=0)
    return bands / bands.sum(0).clamp(min=1e-6)


class Classifier(Loss):
    """Cross-entropy, nats, `[batch]`, of what a frozen classifier hears in the estimate of the class `of`.

    The class of the source's name is wanted where it sounds in the example, and no other class ever; that it sounds is
    all that is asked of the reference. `file` is what `training.data.tools.event_classifier` wrote.
    """

    def __init__(self, setup: Setup, file: str = ""):
        super().__init__(setup)
        self.classifier = read_classifier(file)
        if setup.sample_rate != self.classifier.rate or setup.audio_channels != 1:
            raise ValueError(f"{file} hears one channel at {self.classifier.rate} Hz.")
        if not set(setup.sources) & set(self.classifier.classes):
            raise ValueError(f"{file} knows {', '.join(self.classifier.classes)}, and no source has such a name.")

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        name = next(name for name, sound in context.estimates.items() if sound is estimate)
        logits = self.classifier.clip(estimate.waves[:, 0])
        wanted = torch.zeros_like(logits)
        if name in self.classifier.classes:
            wanted[:, self.classifier.classes.index(name)] = (reference.power > PRESENT).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)
