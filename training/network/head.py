"""The head: what is made of hidden channels, masks, filters over frames and activity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.multiframe import GENTLE
from training.network.norm import NORMS, folded
from training.network.part import Memory, Part, StateSpec, linear_products

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


def bounded_complex(logits: Tensor) -> Tensor:
    """`[..., 2, pairs]` (real, imaginary) with the same phase and a magnitude below one, tanh of what it was.

    Williamson et al. 2016, "Complex ratio masking for monaural speech separation"; bounded as by Hu et al. 2020, DCCRN,
    arXiv 2008.00264.
    """
    magnitude = (logits.square().sum(-2, keepdim=True) + 1e-8).sqrt()
    return logits * (torch.tanh(magnitude) / magnitude)


# Mask logits [..., sources, 1, pairs] to gains; of `complex` [..., sources, 2, pairs].
MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "free": torch.sigmoid,
    "sum_to_one": lambda logits: torch.softmax(logits, -3),
    "complex": bounded_complex,
}

OPEN = 3.0  # logit of activity that a gate begins with: all but open, so that masks learn first


class Estimates(NamedTuple):
    """What a head says about a frame.

    `gains` `[..., sources, 1, pairs]`, in stereo `[..., sources, 2, 1, pairs]` (middle, side), with 2 (real, imaginary)
    for 1 where masks are complex; `filters` `[..., filters]`, before their bound; `activity` `[..., sources]`, logits
    (of no source if there is no such head); `earlier` `[..., sources, (2,) frames, 1, bins]`, gains of −1 to 1 of
    frames some pitch periods ago (of no frame if there are none).
    """

    gains: Tensor
    filters: Tensor
    activity: Tensor
    earlier: Tensor


class Head(Part):
    """`[batch, frames, channels]` → Estimates. It begins by letting the target through, without filters.

    With an `output_scaler` each logit of a mask has a gain of its own to learn, as in Open-Unmix. With an
    `activity_median` masks are weighed, but not while training, by the median over time of how likely their source is
    active (Hung & Lerch 2020, arXiv 2008.00616), here over the past; the state is those activities.
    """

    def __init__(self, spec: NetworkSpec, masked_pairs: int, earlier_bins: int = 0):
        super().__init__()
        self.masks, self.sources, self.stereo = spec.masks, spec.masked_sources, spec.audio_channels == 2
        self.ones = (1, 1) if self.stereo else (1,)
        self.channels = (2,) if self.stereo else ()  # an axis of middle and side
        self.parts = 2 if spec.masks == "complex" else 1
        made, channels = spec.masked_sources, spec.audio_channels
        filters = made * channels * 2 * channels * spec.filter_frames * spec.filter_bins
        activity = len(spec.sources) if spec.activity else 0
        self.frames, self.bins = spec.pitch_frames, earlier_bins
        earlier = made * channels * self.frames * self.bins
        self.sizes = [made * self.parts * channels * masked_pairs, filters, activity, earlier]
        self.median = spec.activity_median
        self.norm = NORMS[spec.norm](spec.channels)
        self.project = nn.Linear(spec.channels, sum(self.sizes))
        masks = self.sizes[0]
        self.scale = nn.Parameter(torch.ones(masks)) if spec.output_scaler else None
        with torch.no_grad():
            self.project.weight[masks:] = 0
            self.project.bias[masks:] = 0
            if spec.gate_residual:
                self.project.bias[masks + filters : masks + filters + activity] = OPEN
            bias = self.project.bias[:masks].view(made, -1)
            bias.fill_(0.0 if self.parts == 2 else -1.0)
            bias[0, : bias.shape[1] // self.parts] = 1.5

    @property
    def products(self) -> tuple[int, ...]:
        return (linear_products(self),)

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(state=max(0, self.median - 1) * self.sources)

    def deployed(self) -> Self:
        """A batch norm goes into the product behind it."""
        self.norm, self.project = folded(self.norm, self.project)
        return self

    def forward(self, x: Tensor) -> Estimates:
        estimates = self.estimates(x)
        if not self.median or self.training:
            return estimates
        active = torch.sigmoid(estimates.activity[..., : self.sources])
        padded = F.pad(active, (0, 0, self.median - 1, 0))
        return self.weighed(estimates, padded.unfold(1, self.median, 1))

    def step(self, x: Tensor, memory: Memory) -> tuple[Estimates, Memory]:
        estimates = self.estimates(x)
        if not self.median:
            return estimates, memory
        past = memory.state.view(1, self.sources, self.median - 1)
        active = torch.sigmoid(estimates.activity[..., : self.sources])
        recent = torch.cat([past, active.unsqueeze(-1)], -1)
        return self.weighed(estimates, recent), memory._replace(state=recent[..., 1:].flatten())

    def weighed(self, estimates: Estimates, recent: Tensor) -> Estimates:
        """Gains times the median of `recent` activities `[..., sources, activity_median]`."""
        median = recent.topk(self.median // 2 + 1, -1).values[..., -1:]
        return estimates._replace(gains=estimates.gains * median.unsqueeze(-1).unflatten(-2, self.ones))

    def estimates(self, x: Tensor) -> Estimates:
        """What this frame says, as it is."""
        parts = self.project(self.norm(x)).split(self.sizes, -1)
        if parts[0].dtype != torch.float32:  # of training in bfloat16; a step graph is spared the node
            parts = tuple(part.float() for part in parts)  # each by itself, or the compiler keeps a copy of the whole
        masks, filters, activity, earlier = parts
        if self.frames:
            earlier = torch.tanh(GENTLE * earlier)
        if self.scale is not None:
            masks = masks * self.scale
        gains = MASKS[self.masks](masks.unflatten(-1, (self.sources, self.parts, -1)))
        if self.stereo:
            gains = gains.unflatten(-1, (2, -1)).transpose(-3, -2)
        shape = (self.sources, *self.channels, self.frames, 1, self.bins)
        return Estimates(gains, filters, activity, earlier.unflatten(-1, shape) if self.frames else earlier)
