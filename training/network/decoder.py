"""The decoder: masked and filtered pairs back to frames of the overlap-add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import multiframe, stereo
from training.network.encoder import Pairs
from training.network.filterbank import Filterbank, unfold
from training.network.head import Estimates
from training.network.masking import masking
from training.network.part import Part

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


class Decoder(Part):
    """Pairs, Estimates and windows `[..., (2,) analysis_window]` → frames `[..., sources, synthesis_window]`.

    In stereo frames `[..., sources, 2, synthesis_window]` of left and right. No bias: of silence nothing is made.
    """

    fade: Tensor

    def __init__(self, spec: NetworkSpec, bank: Filterbank):
        super().__init__()
        self.spec, self.folded = spec, bank.folded
        self.halves = False  # of frames are computed one by one: half the products, for a step
        used = torch.from_numpy(bank.decoder)[:, bank.first_masked :]
        self.masked_pairs = used.shape[1]
        self.basis = nn.Parameter(used.flatten(0, 1).contiguous())  # [2P, S], or [2P, S / 2] folded
        time = (torch.arange(spec.synthesis_window) + 0.5) / spec.synthesis_window
        self.register_buffer("fade", torch.sin(torch.pi * time) ** 2, persistent=False)  # overlap-adds to one

    @property
    def products(self) -> tuple[int, ...]:
        return (self.spec.masked_sources * self.spec.audio_channels * self.basis.numel(),)

    def deployed(self) -> Self:
        self.halves = self.folded
        return self

    def synthesise(self, pairs: Tensor) -> Tensor:
        """Masked pairs `[..., 2, pairs]` → frames `[..., synthesis_window]`."""
        if not self.folded:
            return F.linear(pairs.flatten(-2), self.basis.t())
        real, imaginary = self.basis[: self.masked_pairs], self.basis[self.masked_pairs :]
        if self.halves:
            return unfold(F.linear(pairs[..., 0, :], real.t()), F.linear(pairs[..., 1, :], imaginary.t()))
        # Of a whole sequence one product with unfolded rows is quicker than two halves and turning one around.
        nothing = torch.zeros_like(real)
        rows = torch.cat([unfold(real, nothing), unfold(nothing, imaginary)])
        return F.linear(pairs.flatten(-2), rows.t())

    def forward(self, pairs: Pairs, estimates: Estimates, window: Tensor) -> Tensor:
        spec = self.spec
        sources, places = spec.masked_sources, (2,) if spec.audio_channels == 2 else ()
        axis = -2 - len(places)  # of the sources in frames
        if self.training and window.device.type == "cpu" and self.all_at_once(pairs, estimates):
            return self.finished(self.masked_at_once(pairs, estimates), estimates, window)
        kept = masked(pairs.masked[..., -self.masked_pairs :].unsqueeze(axis - 1), estimates.gains)
        if pairs.recent is not None:
            bins = spec.filter_bins
            recent = pairs.recent.flatten(-4, -3) if places else pairs.recent  # filters of either channel read both
            count = sources * spec.audio_channels
            filtered = multiframe.filtered(recent, estimates.filters.unflatten(-1, (count, *recent.shape[-3:])))
            if places:
                filtered = filtered.unflatten(-3, (sources, 2))
            kept = torch.cat([kept[..., :bins] + filtered, kept[..., bins:]], -1)
        if pairs.earlier is not None:
            added = (pairs.earlier.unsqueeze(axis - 2) * estimates.earlier).sum(-3)
            bins = added.shape[-1]
            kept = torch.cat([kept[..., :bins] + added, kept[..., bins:]], -1)
        return self.finished(kept, estimates, window)

    @staticmethod
    def all_at_once(pairs: Pairs, estimates: Estimates) -> bool:
        """Whether `masking` can make what is kept: with filters, earlier periods and masks of real numbers."""
        return pairs.recent is not None and pairs.earlier is not None and estimates.gains.shape[-2] == 1

    def masked_at_once(self, pairs: Pairs, estimates: Estimates) -> Tensor:
        """What is kept of the pairs, `[..., sources, (2,) 2, pairs]`, by `masking`."""
        assert pairs.recent is not None and pairs.earlier is not None
        spec, gains = self.spec, estimates.gains.squeeze(-2)
        kept_pairs = pairs.masked[..., -self.masked_pairs :]
        channels = spec.audio_channels
        made, frames = spec.masked_sources * channels, gains.shape[:2].numel()
        recent, earlier = pairs.recent, pairs.earlier
        filters = multiframe.bounded(estimates.filters)
        kept = masking(
            kept_pairs.reshape(frames, channels, 2, -1),
            recent.reshape(frames, -1, 2, recent.shape[-1]),
            earlier.reshape(frames, channels, spec.pitch_frames, 2, -1),
            gains.reshape(frames, made, -1),
            filters.reshape(frames, made, -1, 2, recent.shape[-1]),
            estimates.earlier.reshape(frames, made, spec.pitch_frames, -1),
        )
        return kept.view(*gains.shape[:-1], 2, -1)

    def finished(self, kept: Tensor, estimates: Estimates, window: Tensor) -> Tensor:
        """Frames of what is kept, and of the remainder where one is wanted."""
        spec, places = self.spec, (2,) if self.spec.audio_channels == 2 else ()
        axis, sources = -2 - len(places), spec.masked_sources
        frames = self.synthesise(kept)
        if spec.consistency or spec.residual_source:
            missing = (window[..., -spec.synthesis_window :] * self.fade - frames.sum(axis)).unsqueeze(axis)
            if spec.gate_residual:
                kept_back = missing * torch.sigmoid(-estimates.activity[..., -1:]).unflatten(-1, (1,) * -axis)
                frames, missing = frames + kept_back, missing - kept_back
            frames = torch.cat([frames, missing], axis) if spec.residual_source else frames + missing / sources
        return stereo.turned(frames) if places else frames


def masked(pairs: Tensor, gains: Tensor) -> Tensor:
    """Pairs `[..., 2, pairs]` times real gains `[..., 1, pairs]` or complex ones `[..., 2, pairs]`."""
    if gains.shape[-2] == 1:
        return pairs * gains
    real, imaginary = pairs.split(1, -2)
    gain_real, gain_imaginary = gains.split(1, -2)
    return torch.cat([real * gain_real - imaginary * gain_imaginary, real * gain_imaginary + imaginary * gain_real], -2)
