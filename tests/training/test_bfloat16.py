"""Half precision only where it is no emulation."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from training.bfloat16 import supports_bfloat16

CPU = torch.device("cpu")


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="flags as Linux has them on x86-64"
)
def test_what_is_said_of_the_processor_is_what_the_kernel_says() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split())
    assert supports_bfloat16(CPU) == bool(flags & {"avx512_bf16", "amx_bf16"})


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"amx_bf16": True}, True),
        ({"bf16": True}, True),  # ARM
        ({}, False),
    ],
)
def test_it_goes_by_what_torch_finds(
    capabilities: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert supports_bfloat16(CPU) is expected
    assert supports_bfloat16(torch.device("meta"))


def test_without_the_question_no_risk_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not supports_bfloat16(CPU)
