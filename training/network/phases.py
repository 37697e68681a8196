"""One of several modules a hop, by the hop's phase; in a graph the branches of an `If`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BRANCHES = "Branches"  # the node that stands in a graph for a `Phases` until export puts its modules there


class Phases(nn.Module):
    """Runs module number `phase`, each `(*inputs) → the last input's next value`, of the same shape."""

    def __init__(self, modules: list[nn.Module]):
        super().__init__()
        self.branches = nn.ModuleList(modules)
        self.shapes: list[tuple[int, ...]] = []  # of the inputs, once it has been exported

    def forward(self, *inputs: Tensor, phase: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            self.shapes = [tuple(int(size) for size in each.shape) for each in inputs]
            return _Branches.apply(*inputs, phase)
        return self.branches[int(phase)](*inputs)


class _Branches(torch.autograd.Function):
    """A place in the graph: the exporter knows no branches of what is traced."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        return inputs[-2].clone()

    @staticmethod
    def symbolic(graph: Any, *inputs: Any) -> Any:
        return graph.op(f"rtsep::{BRANCHES}", *inputs).setType(inputs[-2].type())
