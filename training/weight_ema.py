"""Exponential moving average of the weights: what is validated, checkpointed and exported."""

from __future__ import annotations

import torch

from training.network import Network


class WeightEma:
    """A copy of `network`, in evaluation mode, whose weights follow with `decay`; faster in the first steps.

    Steps are counted over all runs: one that begins with trained weights averages slowly from its start.

    Its own weights are `network.state_dict()`.
    """

    def __init__(self, network: Network, decay: float):
        self.decay = decay
        self.network = Network(network.spec).to(next(network.parameters()).device).requires_grad_(False).eval()
        self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """After `step` steps (from 1) in all, of earlier runs too: a lerp towards the weights of `network`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)  # statistics of batch norms, if there are any
