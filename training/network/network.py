"""The network: a causal short-window Conv-TasNet with joint masks, in the sequence form that trains."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.filterbank import FILTERBANKS
from training.network.separator import Separator


@dataclass(frozen=True)
class NetworkSpec:
    """Shape of the network. Windows and hop in samples at `sample_rate` (Hz), `dilations` in hops."""

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

    def __post_init__(self) -> None:
        if self.synthesis_window != 2 * self.hop:
            raise ValueError("synthesis_window must be two hops: the sine windows overlap-add to one only then.")
        if self.analysis_window < self.synthesis_window or self.analysis_window % self.hop:
            raise ValueError("analysis_window must be a whole number of hops and at least synthesis_window.")
        if self.filterbank not in FILTERBANKS:
            raise ValueError(f"filterbank must be one of {sorted(FILTERBANKS)}, not {self.filterbank!r}.")

    def to_dict(self) -> dict:
        return asdict(self)


class Network(nn.Module):
    """Waveform in, one waveform a source out, sample-aligned with the input.

    `forward`: `[batch, samples]` float32 → `[batch, sources, samples]`; `samples` is a multiple of the hop. The
    estimate of sample n depends on input samples up to n + synthesis_window − 1 and no later one.
    Encoder, decoder and masks carry no bias on the signal path: silence gives exact zero.
    """

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
        sources = len(spec.sources)
        self.separator = Separator(
            self.pairs, sources * self.masked_pairs, spec.channels, spec.hidden, spec.kernel, spec.dilations
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

    def decode(self, pairs: Tensor, masks: Tensor) -> Tensor:
        """Masks `[..., sources × masked]` (before the sigmoid) → frames `[..., sources, synthesis_window]`."""
        gains = torch.sigmoid(masks).unflatten(-1, (len(self.spec.sources), 1, self.masked_pairs))
        kept = pairs[..., self.first_masked :].unsqueeze(-3) * gains
        return F.linear(kept.flatten(-2), self.decoder.t())

    def forward(self, wave: Tensor) -> Tensor:
        spec = self.spec
        hop, length = spec.hop, wave.shape[-1]
        if length % hop:
            raise ValueError(f"The number of samples must be a multiple of {hop}, not {length}.")
        # One frame more than there are hops: the last hop is complete only when the next one has been added.
        padded = F.pad(wave, (spec.analysis_window - hop, hop))
        pairs = self.encode(padded.unfold(-1, spec.analysis_window, hop))
        frames = self.decode(pairs, self.separator(self.features(pairs)))  # [batch, T + 1, sources, S]
        hops = frames[:, 1:, :, :hop] + frames[:, :-1, :, hop:]
        return hops.transpose(1, 2).flatten(-2)
