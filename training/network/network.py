"""The network joins its parts: encoder, separator, head, decoder. It is a causal short-window Conv-TasNet."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import stereo
from training.network.conditions import CONDITIONS
from training.network.decoder import Decoder
from training.network.encoder import Encoder
from training.network.filterbank import FILTERBANKS, Features
from training.network.head import Head
from training.network.offset import Offset
from training.network.part import Memory, Part, StateSpec
from training.network.separators import SEPARATORS
from training.network.spec import NetworkSpec


class Network(nn.Module):
    """Waveform in, one waveform a source out, sample-aligned with the input.

    `forward`: `[batch, samples]` float32 → `[batch, sources, samples]`, in stereo `[batch, 2, samples]` →
    `[batch, sources, 2, samples]`; `samples` is a multiple of the hop. A `condition` `[batch, condition]`, or one a hop
    (and one more) `[batch, hops + 1, condition]`, is side information; without it there is none. The
    estimate of sample n depends on input samples up to n + synthesis_window + lookahead − 1 and no later one.
    Encoder, decoder and masks carry no bias on the signal path: silence gives exact zero.

    Raises ValueError if some hops would cost more than twice the mean.
    """

    mixed: bool = False  # train the separator in bfloat16; the way of the sound itself stays in float32

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.spec = spec
        bank = FILTERBANKS[spec.filterbank](
            spec.sample_rate, spec.analysis_window, spec.synthesis_window, Features(spec.features, spec.features_top)
        )
        self.stereo = spec.audio_channels == 2
        self.offset = Offset(spec) if spec.offset_hops else None
        self.encoder, self.decoder = Encoder(spec, bank), Decoder(spec, bank)
        self.condition = CONDITIONS[spec.condition](spec, self.encoder.features) if spec.condition else None
        self.separator = SEPARATORS[spec.separator](spec, self.encoder.features, self.encoder.levels)
        earlier_bins = self.encoder.pitch.bins if self.encoder.pitch else 0
        self.head = Head(spec, self.decoder.masked_pairs, earlier_bins)
        products = self.products
        if max(products) * len(products) > 2 * sum(products):
            raise ValueError("The slow part is too large: some hops would cost more than twice the mean.")

    def parts(self) -> tuple[Part, ...]:
        """In the order in which the sound passes them."""
        before = (self.offset,) if self.offset else ()
        between = (self.condition,) if self.condition else ()
        return *before, self.encoder, *between, self.separator, self.head, self.decoder

    @property
    def window(self) -> int:
        """Samples that a step is given, newest last."""
        return max(self.spec.analysis_window + self.spec.lookahead, self.separator.window, self.encoder.past)

    @property
    def state_spec(self) -> StateSpec:
        """What is carried from hop to hop beside the window: the separator's, and behind its state that of others."""
        return replace(self.separator.state_spec, state=sum(self._state_sizes))

    @property
    def _state_sizes(self) -> list[int]:
        """Of separator, head and offset."""
        offset = self.offset.state_spec.state if self.offset else 0
        return [self.separator.state_spec.state, self.head.state_spec.state, offset]

    @property
    def products(self) -> tuple[int, ...]:
        """Multiply-adds of all products with weights, at each phase of the slowest part."""
        rate = self.state_spec.rate
        return tuple(sum(part.products[phase % len(part.products)] for part in self.parts()) for phase in range(rate))

    def deployed(self) -> Self:
        """A copy as a step graph holds it, for `step` alone."""
        made = copy.deepcopy(self).eval().requires_grad_(False)
        made.encoder, made.separator = made.encoder.deployed(), made.separator.deployed()
        made.head, made.decoder = made.head.deployed(), made.decoder.deployed()
        return made

    @torch.no_grad()
    def observe(self, wave: Tensor) -> None:
        """Before training: a separator that wants them gets the features of mixtures, shaped as for `forward`."""
        wave = F.pad(wave, (0, self.spec.lookahead))
        offset = self.offset(self._turned(wave)) if self.offset else None
        self.separator.observe(self.encoder(self._windows(wave), self._turned(wave), offset)[0])

    def forward(self, wave: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.estimate(wave, condition)[0]

    def estimate(self, wave: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The waveforms, activity logits `[batch, hops, sources]` (of no source if there is no such head), the trunk.

        The trunk `[batch, hops + 1, channels]` is what the separator gives to the head. Its frame t knows the input up
        to the end of hop t, and its masks are of the bins of a window of two hops around the beginning of that hop.
        """
        hop, late = self.spec.hop, self.spec.lookahead // self.spec.hop
        wave = F.pad(wave, (0, self.spec.lookahead))
        windows = self._windows(wave)
        offset, past = self.offset(self._turned(wave)) if self.offset else None, self._past(wave)
        features, pairs = self.encoder(windows, self._turned(wave), offset)
        if offset is not None:
            past = tuple(each - offset.view(*offset.shape[:2], -1, 1) for each in past)
        with torch.autocast(wave.device.type, torch.bfloat16, enabled=self.mixed):
            if self.condition is not None:
                if condition is None:
                    condition = wave.new_zeros(1, 1, self.spec.condition_size)
                features = self.condition(features, condition.unsqueeze(1) if condition.ndim == 2 else condition)
            trunk = self.separator(features, *past)[:, late:]
            estimates = self.head(trunk)
        masked = windows[:, : windows.shape[1] - late]
        frames = self.decoder(pairs, estimates, masked)  # [batch, T + 1, sources, (2,) S]
        hops = frames[:, 1:, ..., :hop] + frames[:, :-1, ..., hop:]
        return hops.movedim(1, -2).flatten(-2), estimates.activity[:, :-1], trunk

    def step(self, window: Tensor, memory: Memory, condition: Tensor | None = None) -> tuple[Tensor, Tensor, Memory]:
        """One hop: `window [channels, samples]`, as many as the property of that name → frames, activity, memory.

        Frames are `[sources, channels, S]`, of the sound that was newest `lookahead` samples ago; activities
        `[sources]` are probabilities. `condition` `[condition]`.
        """
        ahead, window = self.spec.lookahead, self._turned(window)
        memories = self._memories(memory)
        offset = None
        if self.offset is not None:
            offset, memories[2] = self.offset.step(window[..., -self.spec.hop :], memories[2])
        if self.stereo:  # the first axis is that of the frames
            window = window.unsqueeze(0)
        newest = window[..., -self.separator.window :]
        if self.separator.window and offset is not None:
            newest = newest - offset.unsqueeze(-1)
        past = (newest if self.stereo else newest.unsqueeze(1),) if self.separator.window else ()
        earlier = window[..., -self.encoder.past :] if self.encoder.past else None
        if past or earlier is not None:
            window = window[..., -self.spec.analysis_window - ahead :]
        (features, pairs), _ = self.encoder.step(window, earlier, offset, memory)
        if self.condition is not None and condition is not None:
            features = self.condition(features, condition.unsqueeze(0))
        x, memories[0] = self.separator.step(features, *past, memories[0])
        estimates, memories[1] = self.head.step(x, memories[1])
        frames = self.decoder(pairs, estimates, window[..., : self.spec.analysis_window])[0]
        activity = torch.sigmoid(estimates.activity[0])
        return frames if self.stereo else frames.unsqueeze(1), activity, self._together(memories)

    def _memories(self, memory: Memory) -> list[Memory]:
        """Of separator, head and offset, each with its part of the state."""
        sizes = self._state_sizes
        if not any(sizes[1:]):
            return [memory] * len(sizes)
        return [memory._replace(state=state) for state in memory.state.split(sizes)]

    def _together(self, memories: list[Memory]) -> Memory:
        """What `_memories` took apart; the separator's own has the rest."""
        if not any(self._state_sizes[1:]):
            return memories[0]
        there = zip(memories, self._state_sizes, strict=True)
        return memories[0]._replace(state=torch.cat([each.state for each, size in there if size]))

    def _windows(self, wave: Tensor) -> Tensor:
        """`[batch, frames, (2,) A]`: one frame more than hops, for the last hop is complete only with the next one."""
        spec = self.spec
        if wave.shape[-1] % spec.hop:
            raise ValueError(f"The number of samples must be a multiple of {spec.hop}, not {wave.shape[-1]}.")
        around = (spec.analysis_window - spec.hop, spec.hop)
        windows = F.pad(self._turned(wave), around).unfold(-1, spec.analysis_window, spec.hop)
        return windows.transpose(1, 2).contiguous() if self.stereo else windows  # else products are of one window each

    def _past(self, wave: Tensor) -> tuple[Tensor, ...]:
        """For a separator that looks at a window itself: `[batch, frames, channels, window]`, views that overlap."""
        spec, size = self.spec, self.separator.window
        if not size:
            return ()
        sound = self._turned(wave) if self.stereo else wave.unsqueeze(1)
        padded = F.pad(sound, (size - spec.hop, spec.hop))
        return (padded.unfold(-1, size, spec.hop).transpose(1, 2),)

    def _turned(self, sound: Tensor) -> Tensor:
        """Middle and side of a stereo sound."""
        return stereo.turned(sound) / 2 if self.stereo else sound
