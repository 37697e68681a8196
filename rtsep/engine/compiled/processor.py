"""What the processor at hand can do, as LLVM knows it; needs no Numba, which takes a while to load."""

from __future__ import annotations

from llvmlite import binding

_X86, _ARM64 = ("x86", "i386", "i686", "amd64"), ("aarch64", "arm64")


def has_avx512() -> bool:
    """Whether the processor has 32 registers of 16 values, so that larger tiles fit."""
    return bool(binding.get_host_cpu_features().get("avx512f", False))


def widens_halves() -> bool:
    """Whether it turns float16 into float32 by itself: all of 64-bit ARM do, and of x86 those with AVX2.

    Elsewhere LLVM would call a function of the compiler's library, which need not be there.
    """
    triple = binding.get_process_triple()
    if triple.startswith(_ARM64):
        return True
    features = binding.get_host_cpu_features()
    return triple.startswith(_X86) and bool(features.get("f16c", False) or features.get("avx512f", False))
