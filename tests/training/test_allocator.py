"""Training keeps its memory from step to step: the kernel is not asked for the same pages again and again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.program import HOME

BEGIN = """
import ctypes, resource, sys
import torch
if sys.argv[1] == "kept":
    from training.allocator import keep_memory
    keep_memory()
torch.zeros(3)
"""
FAULTS = """
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of 4 KiB, whatever the machine's default
for _ in range(30):  # the first few may find no gap that is wide enough
    torch.ones(1 << 24)  # 64 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
LARGE_PAGES = """
large = torch.ones(1 << 24)
print(sum(" hg" in line for line in open("/proc/self/smaps") if line.startswith("VmFlags")))
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")


def number(program: str, how: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    words = [sys.executable, "-c", BEGIN + program, how]
    done = subprocess.run(words, cwd=HOME, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_large_tensors_take_the_place_of_the_ones_before() -> None:
    left = number(FAULTS, "left")
    assert left > 100_000  # pages, of 163,840 that were written to
    # A machine that lacks memory may take some back by itself.
    assert any(number(FAULTS, "kept") < 0.1 * left for _ in range(3))


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the kernel has no large pages")
def test_large_pages_are_asked_for() -> None:
    assert number(LARGE_PAGES, "left") == 0
    assert number(LARGE_PAGES, "kept") > 0
