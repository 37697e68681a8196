"""QualityNet (Fu et al. 2018, arXiv 1808.05344): guesses PESQ from the processed speech alone, and serves as a loss.

It shares labels, memory and schedule with the critic of MetricGAN, which hears the clean speech too. The warning in
`pesq_proxy` holds here too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.losses.metricgan import LearnedQuality


class QualityNet(nn.Module):
    """Guesses the quality (0 to 1, not clamped) of `estimate` `[batch, samples]` at 16 kHz; hears no reference.

    Magnitudes → recurrent units → a guess a frame, of which the mean counts: so a fault has a place. The authors' units
    are of both directions, and so are these: a loss need not be causal.
    """

    window: Tensor

    def __init__(self, width: int = 32):
        super().__init__()
        self.register_buffer("window", torch.hann_window(512), persistent=False)
        self.recurrent = nn.GRU(257, width, bidirectional=True, batch_first=True)
        self.hidden = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, estimate: Tensor, reference: Tensor | None = None) -> Tensor:
        return self.frames(estimate).mean(1)

    def frames(self, estimate: Tensor) -> Tensor:
        """`[batch, frames]`"""
        wave = estimate / (estimate.square().mean(-1, keepdim=True) + 1e-9).sqrt()
        spectrum = torch.stft(wave, 512, 256, window=self.window, return_complex=True).transpose(-1, -2)
        loudness = (torch.view_as_real(spectrum).square().sum(-1) + 1e-4) ** 0.15
        return self.out(F.elu(self.hidden(self.recurrent(loudness)[0]))).squeeze(-1)


class QualityNetLoss(LearnedQuality):
    """(1 − guessed quality)² of one source, `[batch]`, by the speech alone."""

    network = QualityNet
