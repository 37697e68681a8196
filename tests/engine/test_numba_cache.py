"""Compiled code kept on disk is never that of other constants, or of another kernel that it calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtsep.engine.numba_cache import _sign

# A kernel that reads the layout of the shared block, and a C function that reads it too and calls the kernel.
PROGRAM = """
import ctypes, json
import numpy as np
from rtsep.live.backends import shared_state as b
from rtsep.live.backends.clock_bridge import catch
from rtsep.live.backends.callback import compile_callback

sound = np.ones((5, 1), np.float32)
head = np.zeros(b.HEAD, np.int64)
catch(head, np.zeros((1, 1024), np.float32), sound, 7)

block = b.Block.create()
block.head[b.IN_CHANNELS] = 1
function = compile_callback(catching=True)
pointer, number = ctypes.c_void_p, ctypes.c_ulong
call = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, number, pointer, number, pointer)(function.address)
call(sound.ctypes.data, None, 5, np.zeros(3).ctypes.data, 15, block.head.ctypes.data)
print(json.dumps({
    "places": [b.CAUGHT, b.IN_XRUNS],
    "kernel": int(head[b.CAUGHT]),
    "function": [int(block.head[b.CAUGHT]), int(block.head[b.IN_XRUNS])],
    "kept": [sum(catch.stats.cache_hits.values()), function.cache_hits],
}))
"""


def test_a_layout_that_changes_elsewhere_changes_what_is_compiled(tmp_path: Path) -> None:
    import rtsep.live.backends.callback  # compiled once: the copy brings that along

    home = Path(rtsep.__file__).parent
    shutil.copytree(home, tmp_path / "rtsep", ignore=shutil.ignore_patterns("*.onnx"))

    def run() -> dict[str, list[int]]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run()
    before = run()
    assert (before["kernel"], before["function"], before["kept"]) == (5, [5, 1], [1, 1])
    layout = tmp_path / "rtsep" / "live" / "backends" / "shared_state.py"
    text = layout.read_text(encoding="utf-8")
    words = ("    CAUGHT,", "    IN_XRUNS,")
    assert all(text.count(word) == 1 for word in words)
    text = text.replace(words[0], "    OTHER,").replace(words[1], words[0]).replace("    OTHER,", words[1])
    layout.write_text(text, encoding="utf-8")
    after = run()
    assert after["places"] == before["places"][::-1]
    assert (after["kernel"], after["function"], after["kept"]) == (5, [5, 1], [0, 0])


def test_what_is_frozen_into_code_is_in_its_name() -> None:
    """Constants by name or in a module, tuples of them, kernels that are called, and the code itself."""

    def name(source: str, **scope: object) -> str:
        exec(f"def kernel(x):\n    {source}", scope)
        kernel = scope["kernel"]
        assert callable(kernel)
        _sign(kernel)
        first = kernel.__qualname__
        _sign(kernel)
        assert kernel.__qualname__ == first and first.startswith("kernel_sha256_") and first.isidentifier()
        return first

    class Kernel:
        def __init__(self, name: str) -> None:
            self.py_func = type("function", (), {"__qualname__": name})

    assert name("return A", A=1) == name("return A", A=1, B=3) != name("return A", A=2)
    assert name("return A[0]", A=(1, 2)) != name("return A[0]", A=(1, 3))
    assert name("return f(x)", f=Kernel("a")) != name("return f(x)", f=Kernel("b"))
    assert name("return x + 1") != name("return x + 2") != name("return x - 2")
    module = pytest.__class__("layout")
    module.A = 1  # type: ignore[attr-defined]
    first = name("return m.A", m=module)
    module.A = 2  # type: ignore[attr-defined]
    assert name("return m.A", m=module) != first
