"""The constant that bad sound cards add, taken away before all else.

Bins of a short window are too wide to tell a constant from the lowest voice beside it, so no mask can take it away
alone. Here it is the mean over the past, which forgets: after the first hops a high-pass filter of the first order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from scipy.signal import lfilter
from torch import Tensor
from torch.nn import functional as F

from training.network.part import Memory, Part, StateSpec

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec

SILENT = 2.0  # hops of silence that stand before the first: a stream that begins within a word keeps it


class Offset(Part):
    """A sound `[batch, (2,) samples]`, a whole number of hops → its mean so far, `[batch, frames, (2,)]`.

    Frame t knows hops 0 to t, of which each weighs less than the next one, by 1 / `offset_hops`; there is one frame
    more than hops, as if silence followed. The state is the weighted sum of each channel, and that of the weights.
    Nothing is learnt. Unlike other parts it takes the sound itself, and a step one hop of it.
    """

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.hop, self.channels = spec.hop, spec.audio_channels
        self.keep = 1 - 1 / spec.offset_hops
        self.forgets = SILENT * (1 - self.keep)

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(state=self.channels + 1)

    @property
    def products(self) -> tuple[int, ...]:
        return (0,)

    @torch.compiler.disable  # nothing of it learns
    @torch.no_grad()
    def forward(self, wave: Tensor) -> Tensor:
        hops = F.pad(wave.unflatten(-1, (-1, self.hop)).sum(-1) / self.hop, (0, 1))
        # One compiled loop: as operations of torch, hop by hop, it takes longer than a block of the TCN.
        total = torch.from_numpy(lfilter([1.0], [1.0, -self.keep], hops.cpu().numpy())).to(hops)
        weight = (1 - self.keep ** torch.arange(1, hops.shape[-1] + 1, device=wave.device)) / (1 - self.keep)
        return self._mean(total, weight).movedim(-1, 1)

    def step(self, *inputs: Any) -> tuple[Tensor, Memory]:
        """The newest hop `[channels, hop]` and the memory → `[channels]`."""
        hop, memory = inputs
        total, weight = (memory.state * self.keep).split([self.channels, 1])
        total, weight = total + hop.sum(-1) / self.hop, weight + 1.0
        return self._mean(total, weight), memory._replace(state=torch.cat([total, weight]))

    def _mean(self, total: Any, weight: Any) -> Any:
        """With the silence before the first hop, which is forgotten in the same way."""
        return total / (weight + (SILENT - self.forgets * weight))
