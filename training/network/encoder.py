"""The encoder: filters whose outputs are masked, and what of them the separator hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import multiframe, stereo
from training.network.filterbank import LOG_OFFSET, LOG_SCALE, Filterbank, fold
from training.network.part import Memory, Part
from training.network.pitch import Pitch

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


COHERENCE = 3.0  # brings coherence, as a feature, to about ±3


class Pairs(NamedTuple):
    """What is masked and filtered. In stereo there is an axis of middle and side before the last two, and three.

    `masked` `[..., 2, pairs]`: real and imaginary parts; those that get no mask may stand before them.
    `recent` `[..., frames, 2, bins]`: the lowest pairs of the newest frames, newest first; None without filters.
    `earlier` `[..., frames, 2, bins]`: those of frames some pitch periods ago; None without such frames.
    """

    masked: Tensor
    recent: Tensor | None
    earlier: Tensor | None = None


class Encoder(Part):
    """Windows `[batch, frames, analysis_window]`, in stereo `[batch, frames, 2, analysis_window]` → features and Pairs.

    With a look-ahead the pairs are of the frames so many hops ago: `late` fewer than there are features.

    Features `[batch, frames, features]`: first the `levels`, log powers; in stereo then what lies between the channels,
    and where there are filters how the phases moved, and last what is known of the pitch. No bias: silence gives exact
    zero pairs. With pitch frames it wants the sound itself too, of which a step sees the newest `past` samples.
    """

    def __init__(self, spec: NetworkSpec, bank: Filterbank):
        super().__init__()
        self.folded, self.stereo = bank.folded, spec.audio_channels == 2
        self.hop, self.synthesis_window, self.late = spec.hop, spec.synthesis_window, spec.lookahead // spec.hop
        self.bins, self.frames = spec.filter_bins, spec.filter_frames
        self.long = nn.Parameter(torch.from_numpy(bank.long).flatten(0, 1))  # [2L, A]
        self.short = nn.Parameter(torch.from_numpy(bank.short).flatten(0, 1))  # [2M, S], or [2M, S / 2] folded
        self.first_masked, self.pairs = bank.first_masked, bank.decoder.shape[1]
        self.levels = spec.audio_channels * self.pairs
        between = 2 * self.pairs if self.stereo else 0
        self.pitch = Pitch(spec) if spec.pitch_frames else None
        self.past = self.pitch.past if self.pitch else 0
        self.of_ones: Tensor | None = None  # in a deployed one, the pairs `[2, pairs]` of ones
        moved = spec.audio_channels * 2 * (self.frames - 1) * self.bins
        self.features = self.levels + between + moved + (self.pitch.features if self.pitch else 0)

    @property
    def products(self) -> tuple[int, ...]:
        recent = self.frames * 2 * self.bins * self.short.shape[1]
        again = self.short.numel() + (0 if self._long_informs_only() else self.long.numel()) + recent
        once = self.long.numel() + self.short.numel() + recent
        channels = 2 if self.stereo else 1
        read = channels * self.pitch.frames * 2 * self.pitch.bins * self.short.shape[1] if self.pitch else 0
        read *= 2 if self.late else 1
        pitch = self.pitch.products + read if self.pitch else 0
        return ((once + (again if self.late else 0)) * channels + pitch,)

    def forward(
        self, windows: Tensor, wave: Tensor | None = None, offset: Tensor | None = None
    ) -> tuple[Tensor, Pairs]:
        """`wave` `[batch, (2,) samples]` is the sound that the windows are of; needed for pitch frames.

        `offset` `[batch, frames, (2)]` is taken away from each window, and so from all frames that are seen in it.
        """
        pairs = self.encode(windows)
        recent = None
        if self.bins:
            lowest = self._lowest(pairs)
            recent = multiframe.recent(lowest.flatten(-3, -2) if self.stereo else lowest, self.frames)
            if self.stereo:
                recent = recent.unflatten(-2, (2, 2)).transpose(-4, -3)
        found = self._cleared(pairs, recent, offset)
        features = self._features(*found)
        kept = Pairs(*found)
        if self.late:  # what is known of the offset when the frame is masked
            ends = windows.shape[1] - self.late
            was = None if recent is None else recent[:, :ends]
            kept = Pairs(*self._cleared(pairs[:, :ends], was, None if offset is None else offset[:, self.late :]))
        if self.pitch is None:
            return features, kept
        assert wave is not None
        return self._with_pitch(features, found[0], kept, *self.pitch(wave, windows.shape[1], offset))

    def step(self, window: Tensor, *rest: Any) -> tuple[tuple[Tensor, Pairs], Memory]:
        """The window holds the newest frames, so that nothing need be remembered; `window` `[1, (2,) A + lookahead]`.

        `rest` is the newest `past` samples `[1, (2,) past]` or None, the offset `[(2)]` or None, where there can be
        any, and the memory.
        """
        *given, memory = rest
        past, offset = (*given, None, None)[:2]
        ahead = self.late * self.hop
        newest = window[..., ahead:] if ahead else window
        found = self._cleared(self.encode(newest), self._recent(newest), offset)
        features, kept = self._features(*found), Pairs(*found)
        if ahead:
            kept = self._kept(window[..., :-ahead], offset)
        if self.pitch is None:
            return (features, kept), memory
        return self._with_pitch(features, found[0], kept, *self.pitch.step(past, offset)), memory

    def deployed(self) -> Self:
        """With the pairs of ones computed, so that a step graph need not."""
        self.of_ones = self._of_ones()
        return self

    def _of_ones(self) -> Tensor:
        return self.encode(self.long.new_ones(self.long.shape[1]))

    def _cleared(self, pairs: Tensor, recent: Tensor | None, offset: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Both less what an `offset` `[..., (2)]` puts into them; None is no offset.

        Pairs are fewer numbers than windows; and products with windows that depend on no state can be done for many
        hops of one stream together.
        """
        if offset is None:
            return pairs, recent
        constant = offset[..., None, None] * (self._of_ones() if self.of_ones is None else self.of_ones)
        of_pairs = constant if pairs.shape[-1] == constant.shape[-1] else constant[..., self.first_masked :]
        return pairs - of_pairs, None if recent is None else recent - self._lowest(constant).unsqueeze(-3)

    def _with_pitch(
        self, features: Tensor, pairs: Tensor, kept: Pairs, windows: Tensor, known: Tensor, before: Tensor | None
    ) -> tuple[Tensor, Pairs]:
        """Adds how coherent the newest `pairs` are with `windows` some periods ago, and to what is kept the pairs of
        such windows: of these, or of those `before`, as many periods before the frame that is masked."""
        assert self.pitch is not None
        bins = self.pitch.bins
        earlier = self.analyse(windows, bins)
        newest = pairs[..., self.first_masked : self.first_masked + bins]
        seen = COHERENCE * self.pitch.coherence(newest, earlier)
        if self.stereo:
            seen = seen.flatten(-2)
        if before is not None:
            earlier = self.analyse(before, bins)
        return torch.cat([features, seen, known], -1), kept._replace(earlier=earlier)

    def _kept(self, window: Tensor, offset: Tensor | None) -> Pairs:
        """Of a window `[1, (2,) A]` the pairs that are masked and filtered, less an offset, and no features."""
        informs = self._long_informs_only()
        masked = self.analyse(window[..., -self.synthesis_window :]) if informs else self.encode(window)
        return Pairs(*self._cleared(masked, self._recent(window), offset))

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

    def _lowest(self, pairs: Tensor) -> Tensor:
        """Those that filters read, `[..., 2, filter_bins]`."""
        return pairs[..., self.first_masked : self.first_masked + self.bins]

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
