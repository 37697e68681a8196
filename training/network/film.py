"""A condition by gains and offsets (Perez et al. 2018, FiLM, arXiv 1709.07871)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.network.part import Part, linear_products
from training.network.tcn import Modulation


class Film(Part):
    """A vector → a gain and an offset a channel, for some blocks of a TCN.

    `[batch, frames, width]` → `[batch, frames, blocks × 2 × channels]`, differences to a gain of one and an offset of
    zero. They begin as zero, so that a condition that is new to a trained network changes nothing.
    """

    neutral: Tensor

    def __init__(self, width: int, blocks: list[int], channels: int):
        super().__init__()
        self.blocks = blocks
        self.project = nn.Linear(width, len(blocks) * 2 * channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        neutral = torch.tensor([1.0, 0.0]).repeat(len(blocks)).repeat_interleave(channels)
        self.register_buffer("neutral", neutral, persistent=False)

    @property
    def products(self) -> tuple[int, ...]:
        return (linear_products(self),)

    def forward(self, vector: Tensor) -> Tensor:
        return self.project(vector)

    def modulation(self, differences: Tensor) -> Modulation:
        """`[..., blocks × 2 × channels]` → gain and offset, `[..., channels]` each, by the block's number."""
        parts = (differences + self.neutral).chunk(2 * len(self.blocks), -1)
        return {block: (parts[2 * i], parts[2 * i + 1]) for i, block in enumerate(self.blocks)}
