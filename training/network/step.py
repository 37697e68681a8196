"""The step form: the same weights as `Network`, one hop at a time, laid out for few and small ONNX nodes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import multiframe, stereo
from training.network.network import Network


class StepForm(nn.Module):
    """One hop: `window [1, A]`, `taps [layers, kernel − 1, hidden]` → `frames [sources, 1, S]`, `column [layers, H]`.

    In stereo `window [2, A]` → `frames [sources, 2, S]`. With an activity head also `activity [sources]`,
    probabilities. A network that looks ahead has a `window` longer by its look-ahead, at whose old end lies what the
    frames are of; and since its blocks' inputs wait too, they lie beside the taps, H being hidden + channels.

    The convolutions' old taps are weighted for all layers in one product before the layers run, and the scale of the
    log features is folded into the first projection: node count, not arithmetic, decides the time of a step.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network
        spec = network.spec
        self.window = spec.analysis_window + spec.lookahead
        self.width = spec.hidden + (spec.channels if spec.lookahead else 0)
        self.separator = separator = network.separator.folded()
        blocks = separator.stack()
        self.old = nn.Parameter(torch.stack([block.depthwise[:-1] for block in blocks]).detach())
        self.bias = nn.Parameter(torch.stack([block.bias for block in blocks]).detach())
        weight, bias = separator.bottleneck.weight.detach().clone(), separator.bottleneck.bias.detach()
        levels = weight[:, : network.levels]
        self.offset = nn.Parameter(bias + 1.5 * levels.sum(1))
        levels *= 0.7 / math.log(10)
        self.weight = nn.Parameter(weight)

    def forward(self, window: Tensor, taps: Tensor) -> tuple[Tensor, ...]:
        network, spec = self.network, self.network.spec
        if network.places:
            window = stereo.turned(window) / 2
        then = window
        if spec.lookahead:
            window, then = window[:, spec.lookahead :], window[:, : spec.analysis_window]
        pairs = network.encode(window)  # [audio channels, 2, pairs]
        features, recent = (pairs.square().sum(1) + 1e-7).log().view(1, -1), None
        if network.places:
            features = torch.cat([features, stereo.between(pairs).unsqueeze(0)], -1)
        if spec.filter_bins:
            recent = self.recent(window)
            features = torch.cat([features, multiframe.features(recent).view(1, -1)], -1)
        if spec.lookahead:
            pairs, recent = network.masked(then), self.recent(then) if spec.filter_bins else None
        if network.places:  # the first axis is not that of the frames
            pairs, then = pairs.unsqueeze(0), then.unsqueeze(0)
            recent = None if recent is None else recent.unsqueeze(0)
        x = F.linear(features, self.weight, self.offset)
        waiting: tuple[Tensor, ...] = ()
        if spec.lookahead:  # layers × [1, channels]: the blocks' inputs a dilation ago
            taps, waiting = taps[..., : spec.hidden], torch.split(taps[:, -1, spec.hidden :], 1)
        past = torch.split((taps * self.old).sum(1) + self.bias, 1)  # layers × [1, hidden]
        columns = []
        for index, (block, older) in enumerate(zip(self.separator.stack(), past, strict=True)):
            column = block.column(x)
            columns.append(torch.cat([column, x], -1) if spec.lookahead else column)
            x = block.merge(waiting[index] if block.delay else x, column * block.depthwise[-1] + older)
        outputs = self.separator.head(self.separator.norm(x))
        frames = network.decode(pairs, outputs, then, recent)[0]  # [sources, S] or [sources, 2, S]
        result = frames if network.places else frames.unsqueeze(1), torch.cat(columns)
        return (*result, torch.sigmoid(outputs[0, sum(network.outputs[:2]) :])) if spec.activity else result

    def recent(self, window: Tensor) -> Tensor:
        """The lowest pairs of the newest frames in a window, `[audio channels, frames, 2, bins]`."""
        spec = self.network.spec
        frames = multiframe.newest(window, spec.synthesis_window, spec.filter_frames, spec.hop)
        return self.network.analyse(frames, spec.filter_bins)


class FlatForm(nn.Module):
    """`hop [channels, hop]`, `state [n]` → `audio [sources, channels, hop]`, `next_state [n]`: all history inside.

    `state` holds the past of the window, every layer's past columns (oldest first) and the overlap still to be added;
    it starts at zero. `audio` is the sound `synthesis_window − hop + lookahead` samples ago.
    """

    def __init__(self, step: StepForm):
        super().__init__()
        self.step = step
        spec = step.network.spec
        self.hop, self.overlap = spec.hop, spec.synthesis_window - spec.hop
        self.history = [(spec.kernel - 1) * dilation for dilation in spec.dilations]
        self.past = step.window - spec.hop
        channels = spec.audio_channels
        overlaps = len(spec.sources) * channels * self.overlap
        self.sizes = [channels * self.past, *(rows * step.width for rows in self.history), overlaps]

    @property
    def state_size(self) -> int:
        """Length n of the state, in floats."""
        return sum(self.sizes)

    def forward(self, hop: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        spec = self.step.network.spec
        past, *layers, overlap = torch.split(state, self.sizes)
        window = torch.cat([past.view(spec.audio_channels, -1), hop], 1)
        layers = [layer.view(rows, self.step.width) for layer, rows in zip(layers, self.history, strict=True)]
        taps = torch.stack([layer[::dilation] for layer, dilation in zip(layers, spec.dilations, strict=True)])
        frames, column, *_ = self.step(window, taps)
        total = frames + F.pad(overlap.view(len(spec.sources), spec.audio_channels, self.overlap), (0, self.hop))
        moved = [torch.cat([layer[1:], column[i : i + 1]]).flatten() for i, layer in enumerate(layers)]
        following = torch.cat([window[:, self.hop :].flatten(), *moved, total[:, :, self.hop :].flatten()])
        return total[:, :, : self.hop], following
