"""Compiled code kept on disk is never that of other constants, or of another kernel that it calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rtsep
from rtsep.engine.numba_cache import _sign

pytestmark = pytest.mark.long  # programs, started over and over

# A kernel that reads the layout of the shared block, and a C function that reads it too and calls the kernel.
PROGRAM = """
import ctypes, json
import numpy as np
from rtsep.live.backends import shared_state
from rtsep.live.backends.clock_bridge import capture
from rtsep.live.backends.live_callback import compile_capturing_callback

sound = np.ones((5, 1), np.float32)
clocks = shared_state.SharedBlock.create().clocks
capture(clocks.record, np.zeros((1, 1024), np.float32), sound, 0, 7)

block = shared_state.SharedBlock.create()
block.state.input_channels = 1
function = compile_capturing_callback()
pointer, number = ctypes.c_void_p, ctypes.c_ulong
call = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, number, pointer, number, pointer)(function.address)
call(sound.ctypes.data, None, 5, np.zeros(3).ctypes.data, 15, block.address)
print(json.dumps({
    "places": [shared_state.CLOCKS.fields[name][1] for name in ("captured", "xruns")],
    "kernel": clocks.captured,
    "function": [block.clocks.captured, block.clocks.xruns],
    "kept": [sum(capture.stats.cache_hits.values()), function.cache_hits],
}))
"""


def test_a_layout_that_changes_elsewhere_changes_what_is_compiled(tmp_path: Path) -> None:
    import rtsep.live.backends.live_callback  # compiled once: the copy brings that along

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
    before_clocks, clocks = text.split("CLOCKS = ", 1)
    fields = ('"captured"', '"xruns"')
    clocks = clocks.replace(fields[0], '"other"', 1).replace(fields[1], fields[0], 1).replace('"other"', fields[1], 1)
    text = f"{before_clocks}CLOCKS = {clocks}"
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


def test_an_index_that_is_broken_is_made_anew(tmp_path: Path) -> None:
    """Empty, as after a crash: compiled once more, and then kept again."""
    (tmp_path / "kernels.py").write_text(
        "from rtsep.engine.numba_cache import compiled\n"
        "@compiled('int64(int64)')\ndef double(x):\n    return 2 * x\n"
        "print(double(3), sum(double.stats.cache_hits.values()))\n",
        encoding="utf-8",
    )

    def run() -> str:
        environment = {**os.environ, "PYTHONPATH": str(Path(rtsep.__file__).parents[1])}
        command = [sys.executable, "kernels.py"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert [run(), run()] == ["6 0", "6 1"]
    (index,) = (tmp_path / "__pycache__").glob("kernels.double*.nbi")
    for broken in (b"", index.read_bytes()[:20]):
        index.write_bytes(broken)
        assert [run(), run()] == ["6 0", "6 1"]
