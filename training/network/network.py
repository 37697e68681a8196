"""The network: a causal short-window Conv-TasNet with joint masks, in the sequence form that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.filterbank import FILTERBANKS
from training.network.norm import NORMS
from training.network.separator import Separator

# Mask logits [..., sources, 1, pairs] to gains.
MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "free": torch.sigmoid,
    "sum_to_one": lambda logits: torch.softmax(logits, -3),
}


@dataclass(frozen=True)
class NetworkSpec:
    """Shape of the network. Windows and hop in samples at `sample_rate` (Hz), `dilations` in hops.

    `sources` of length 1 is one mask for the speech. Of two and more masks, `free` ones know nothing of each other and
    those that `sum_to_one` share every pair out. With `consistency` the estimates sum to the mixture exactly: what is
    missing is added in equal parts (Wisdom et al. 2019, arXiv 1811.08521). `norm` is over the channels of each `frame`,
    or over the `batch` while training and folded away at export.
    """

    sample_rate: int = 48000
    hop: int = 128
    analysis_window: int = 1024
    synthesis_window: int = 256
    filterbank: str = "dual"
    sources: list[str] = field(default_factory=lambda: ["speech", "noise"])
    channels: int = 80
    hidden: int = 160
    kernel: int = 3
    dilations: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16, 32, 64] * 2)
    masks: str = "free"
    consistency: bool = False
    norm: str = "frame"

    def __post_init__(self) -> None:
        if self.synthesis_window != 2 * self.hop:
            raise ValueError("synthesis_window must be two hops: the sine windows overlap-add to one only then.")
        if self.analysis_window < self.synthesis_window or self.analysis_window % self.hop:
            raise ValueError("analysis_window must be a whole number of hops and at least synthesis_window.")
        if self.filterbank not in FILTERBANKS:
            raise ValueError(f"filterbank must be one of {sorted(FILTERBANKS)}, not {self.filterbank!r}.")
        if self.masks not in MASKS:
            raise ValueError(f"masks must be one of {sorted(MASKS)}, not {self.masks!r}.")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {sorted(NORMS)}, not {self.norm!r}.")
        if len(self.sources) < 2 and (self.masks != "free" or self.consistency):
            raise ValueError("A single source has one free mask: nothing to share with, no consistency to keep.")

    def to_dict(self) -> dict:
        return asdict(self)


class Network(nn.Module):
    """Waveform in, one waveform a source out, sample-aligned with the input.

    `forward`: `[batch, samples]` float32 → `[batch, sources, samples]`; `samples` is a multiple of the hop. The
    estimate of sample n depends on input samples up to n + synthesis_window − 1 and no later one.
    Encoder, decoder and masks carry no bias on the signal path: silence gives exact zero.
    """

    fade: Tensor

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.spec = spec
        bank = FILTERBANKS[spec.filterbank](spec.sample_rate, spec.analysis_window, spec.synthesis_window)
        self.long = nn.Parameter(torch.from_numpy(bank.long).flatten(0, 1))  # [2L, A]
        self.short = nn.Parameter(torch.from_numpy(bank.short).flatten(0, 1))  # [2M, S]
        # Pairs that the decoder does not use are features only and get no mask.
        masked = torch.from_numpy(bank.decoder).abs().amax(dim=(0, 2)) > 0
        self.first_masked = int((~masked).sum())
        assert bool(masked[self.first_masked :].all()), "feature-only pairs come first"
        self.decoder = nn.Parameter(torch.from_numpy(bank.decoder)[:, self.first_masked :].flatten(0, 1).contiguous())
        self.pairs = len(masked)
        self.masked_pairs = self.pairs - self.first_masked
        time = (torch.arange(spec.synthesis_window) + 0.5) / spec.synthesis_window
        self.register_buffer("fade", torch.sin(torch.pi * time) ** 2, persistent=False)  # overlap-adds to one
        sources = len(spec.sources)
        self.separator = Separator(
            self.pairs, sources * self.masked_pairs, spec.channels, spec.hidden, spec.kernel, spec.dilations, spec.norm
        )
        with torch.no_grad():  # begin by letting the target through
            bias = self.separator.head.bias.view(sources, -1)
            bias.fill_(-1.0)
            bias[0] = 1.5

    def encode(self, window: Tensor) -> Tensor:
        """`[..., analysis_window]` → pairs `[..., 2, pairs]` (real, imaginary)."""
        long = F.linear(window, self.long).unflatten(-1, (2, -1))
        short = F.linear(window[..., -self.spec.synthesis_window :], self.short).unflatten(-1, (2, -1))
        return torch.cat([long, short], -1)

    @staticmethod
    def features(pairs: Tensor) -> Tensor:
        """Log power of each pair, about in ±3: `[..., 2, pairs]` → `[..., pairs]`. Levels stay: they tell over time."""
        return torch.log10(pairs.square().sum(-2) + 1e-7) * 0.7 + 1.5

    def decode(self, pairs: Tensor, masks: Tensor, window: Tensor) -> Tensor:
        """Masks `[..., sources × masked]` (logits) → frames `[..., sources, synthesis_window]`.

        `window` `[..., analysis_window]` is what `pairs` were encoded from.
        """
        gains = MASKS[self.spec.masks](masks.unflatten(-1, (len(self.spec.sources), 1, self.masked_pairs)))
        kept = pairs[..., self.first_masked :].unsqueeze(-3) * gains
        frames = F.linear(kept.flatten(-2), self.decoder.t())
        if self.spec.consistency:
            missing = window[..., -self.spec.synthesis_window :] * self.fade - frames.sum(-2)
            frames = frames + missing.unsqueeze(-2) / len(self.spec.sources)
        return frames

    def forward(self, wave: Tensor) -> Tensor:
        spec = self.spec
        hop, length = spec.hop, wave.shape[-1]
        if length % hop:
            raise ValueError(f"The number of samples must be a multiple of {hop}, not {length}.")
        # One frame more than there are hops: the last hop is complete only when the next one has been added.
        padded = F.pad(wave, (spec.analysis_window - hop, hop))
        windows = padded.unfold(-1, spec.analysis_window, hop)
        pairs = self.encode(windows)
        frames = self.decode(pairs, self.separator(self.features(pairs)), windows)  # [batch, T + 1, sources, S]
        hops = frames[:, 1:, :, :hop] + frames[:, :-1, :, hop:]
        return hops.transpose(1, 2).flatten(-2)
