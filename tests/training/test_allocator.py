"""Training keeps its memory from step to step: the kernel is not asked for the same pages again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.training.program import HOME

PROGRAM = """
import resource, sys
import torch
if sys.argv[1] == "kept":
    from training.allocator import keep_memory
    keep_memory()
torch.ones(1 << 24)  # 64 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_tensors_take_the_place_of_the_ones_before() -> None:
    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], cwd=HOME, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert faults("kept") < 1000  # pages, of 163,840 that were written to
    assert faults("left") > 10_000
