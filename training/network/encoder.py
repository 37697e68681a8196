"""The encoder: filters whose outputs are masked, and what of them the separator hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import multiframe, stereo
from training.network.filterbank import LOG_OFFSET, LOG_SCALE, Filterbank, fold
from training.network.part import Memory, Part

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


class Pairs(NamedTuple):
    """What is masked and filtered. In stereo there is an axis of middle and side before the last two, and three.

    `masked` `[..., 2, pairs]`: real and imaginary parts; those that get no mask may stand before them.
    `recent` `[..., frames, 2, bins]`: the lowest pairs of the newest frames, newest first; None without filters.
    """

    masked: Tensor
    recent: Tensor | None


class Encoder(Part):
    """Windows `[batch, frames, analysis_window]`, in stereo `[batch, frames, 2, analysis_window]` → features and Pairs.

    Features `[batch, frames, features]`: first the `levels`, log powers; in stereo then what lies between the channels,
    and where there are filters how the phases moved. No bias: silence gives exact zero pairs.
    """

    def __init__(self, spec: NetworkSpec, bank: Filterbank):
        super().__init__()
        self.folded, self.stereo = bank.folded, spec.audio_channels == 2
        self.hop, self.synthesis_window, self.waits = spec.hop, spec.synthesis_window, spec.lookahead > 0
        self.bins, self.frames = spec.filter_bins, spec.filter_frames
        self.long = nn.Parameter(torch.from_numpy(bank.long).flatten(0, 1))  # [2L, A]
        self.short = nn.Parameter(torch.from_numpy(bank.short).flatten(0, 1))  # [2M, S], or [2M, S / 2] folded
        self.first_masked, self.pairs = bank.first_masked, bank.decoder.shape[1]
        self.levels = spec.audio_channels * self.pairs
        between = 2 * self.pairs if self.stereo else 0
        self.features = self.levels + between + spec.audio_channels * 2 * (self.frames - 1) * self.bins

    @property
    def products(self) -> tuple[int, ...]:
        recent = self.frames * 2 * self.bins * self.short.shape[1]
        again = self.short.numel() + (0 if self._long_informs_only() else self.long.numel()) + recent
        once = self.long.numel() + self.short.numel() + recent
        return ((once + (again if self.waits else 0)) * (2 if self.stereo else 1),)

    def forward(self, windows: Tensor) -> tuple[Tensor, Pairs]:
        pairs = self.encode(windows)
        recent = None
        if self.bins:
            lowest = pairs[..., self.first_masked : self.first_masked + self.bins]
            recent = multiframe.recent(lowest.flatten(-3, -2) if self.stereo else lowest, self.frames)
            if self.stereo:
                recent = recent.unflatten(-2, (2, 2)).transpose(-4, -3)
        return self._features(pairs, recent), Pairs(pairs, recent)

    def step(self, window: Tensor, memory: Memory) -> tuple[tuple[Tensor, Pairs], Memory]:
        """The window holds the newest frames, so that nothing need be remembered; `window` `[1, (2,) A]`."""
        pairs, recent = self.encode(window), self._recent(window)
        return (self._features(pairs, recent), Pairs(pairs, recent)), memory

    def kept(self, window: Tensor) -> Pairs:
        """Of a window `[1, (2,) A]` the pairs that are masked and filtered, and no features."""
        short = window[..., -self.synthesis_window :]
        masked = self.analyse(short) if self._long_informs_only() else self.encode(window)[..., self.first_masked :]
        return Pairs(masked, self._recent(window))

    def encode(self, window: Tensor) -> Tensor:
        """`[..., analysis_window]` → pairs `[..., 2, pairs]` (real, imaginary)."""
        long = F.linear(window, self.long).unflatten(-1, (2, -1))
        return torch.cat([long, self.analyse(window[..., -self.synthesis_window :])], -1)

    def analyse(self, frame: Tensor, bins: int | None = None) -> Tensor:
        """The short pairs, or the lowest `bins` of them, `[..., synthesis_window]` → `[..., 2, pairs]`."""
        pairs = self.short.shape[0] // 2
        real, imaginary = self.short[:pairs][:bins], self.short[pairs:][:bins]  # slices are folded away at export
        if not self.folded:
            return F.linear(frame, torch.cat([real, imaginary])).unflatten(-1, (2, -1))
        symmetric, antisymmetric = fold(frame)
        return torch.stack([F.linear(symmetric, real), F.linear(antisymmetric, imaginary)], -2)

    def _long_informs_only(self) -> bool:
        return self.first_masked == self.long.shape[0] // 2

    def _recent(self, window: Tensor) -> Tensor | None:
        if not self.bins:
            return None
        return self.analyse(multiframe.newest(window, self.synthesis_window, self.frames, self.hop), self.bins)

    def _features(self, pairs: Tensor, recent: Tensor | None) -> Tensor:
        """Levels stay as they are: they tell over time."""
        levels = torch.log(pairs.square().sum(-2) + 1e-7) * LOG_SCALE + LOG_OFFSET
        found = [levels.flatten(-2), stereo.between(pairs)] if self.stereo else [levels]
        if recent is not None:
            moved = multiframe.features(recent)
            found.append(moved.flatten(-2) if self.stereo else moved)
        return torch.cat(found, -1) if len(found) > 1 else levels
