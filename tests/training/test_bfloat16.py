"""Half precision only where it is no emulation."""

from __future__ import annotations

import time

import torch

from training.bfloat16 import supports_bfloat16


def fastest(kind: torch.dtype, tries: int = 7) -> float:
    """Seconds of one product of the size that a separator has."""
    x, weight = torch.randn(1920, 104).to(kind), torch.randn(208, 104).to(kind)
    found = []
    for _ in range(tries):
        start = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        found.append(time.perf_counter() - start)
    return min(found)


def test_what_is_said_of_the_processor_is_what_it_does() -> None:
    """Where bfloat16 is said to be known it takes no longer than float32, give or take; where not, it is no gain."""
    known = supports_bfloat16(torch.device("cpu"))
    ratios: list[float] = []
    while len(ratios) < 5 and not (ratios and known and ratios[-1] < 2):  # a busy machine gets another try
        ratios.append(fastest(torch.bfloat16) / fastest(torch.float32))
    assert min(ratios) < 2 if known else max(ratios) > 0.8
    assert supports_bfloat16(torch.device("meta"))
