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
from rtsep.engine.compile_notice import COMPILING
from rtsep.engine.numba_cache import _sign

pytestmark = pytest.mark.long  # programs, started over and over

# A kernel that reads the layout of the shared block, and a C function that reads it too and calls the kernel.
PROGRAM = """
import ctypes, json
import numpy as np
from rtsep.live.backends import shared_state
from rtsep.live.backends.clock_bridge import capture
from rtsep.live.backends.callbacks import capturing as function

sound = np.ones((5, 1), np.float32)
clocks = shared_state.SharedBlock.create().clocks
capture(clocks.record, np.zeros((1, 1024), np.float32), sound, 0, 7)

block = shared_state.SharedBlock.create()
block.state.input_channels = 1
pointer, number = ctypes.c_void_p, ctypes.c_ulong
address = function.address
call = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, number, pointer, number, pointer)(address)
call(sound.ctypes.data, None, 5, np.zeros(3).ctypes.data, 15, block.address)
print(json.dumps({
    "places": [shared_state.CLOCKS.fields[name][1] for name in ("captured", "xruns")],
    "kernel": clocks.captured,
    "function": [block.clocks.captured, block.clocks.xruns],
    "kept": [sum(capture.stats.cache_hits.values()), int(not function.compiled)],
}))
"""


def test_a_layout_that_changes_elsewhere_changes_what_is_compiled(tmp_path: Path) -> None:
    from rtsep.live.backends.callbacks import capturing

    assert capturing.address  # compiled once: the copy brings along what it calls
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


# Compiles some of what every stream needs, by itself: kernels of one and of several signatures, and a C function.
FIRST_RUN = """
import hashlib
import numpy as np
from rtsep.engine.compile_notice import tell_by
tell_by(print)
from numba import int64
from rtsep.engine.framing import push, take
from rtsep.engine.numba_cache import c_function

def triple(x):
    return 3 * x

function = c_function(triple, int64(int64))
sound = np.random.default_rng(0).standard_normal((64, 2)).astype(np.float32)
ring, window = np.zeros((2, 128), np.float32), np.zeros((2, 32), np.float32)
take(sound, 64, ring, 127, 0)
push(ring, 127, 64, window)
print(hashlib.sha256(window).hexdigest(), function.ctypes(14), sum(take.stats.cache_hits.values()) > 0)
"""


def first_runs(folder: Path, count: int = 1, **variables: str) -> list[list[str]]:
    """What so many first runs at once print, of the rtsep that lies in ``folder``."""
    program = folder / "first_run.py"
    if not program.exists():  # older numbas take a file that was written again for another one
        program.write_text(FIRST_RUN, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder), **variables}
    command = [sys.executable, "first_run.py"]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, text=True) for _ in range(count)]
    told = [process.communicate(timeout=600)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0] * count
    return told


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder with an rtsep that never ran."""
    ignored = shutil.ignore_patterns("*.onnx", "__pycache__")
    shutil.copytree(Path(rtsep.__file__).parent, tmp_path / "rtsep", ignore=ignored)
    return tmp_path


def test_several_first_runs_at_once_say_so_and_leave_a_cache_that_is_whole(fresh: Path) -> None:
    told = first_runs(fresh, 3)
    (result,) = {lines[-1].rsplit(" ", 1)[0] for lines in told}
    assert result.endswith(" 42")
    assert [COMPILING] in [lines[:-1] for lines in told]  # who comes late may find all of it
    assert all(lines[:-1] in ([COMPILING], []) for lines in told)
    assert first_runs(fresh) == [[f"{result} True"]]


def test_where_nothing_can_be_kept_all_works_as_well(fresh: Path) -> None:
    """No folder for a cache, neither beside the code nor in the user's home: files lie in their way, even for root."""
    (fresh / "rtsep" / "engine" / "__pycache__").write_text("")
    (fresh / "__pycache__").write_text("")
    (fresh / "home").write_text("")
    home = str(fresh / "home")
    again = first_runs(fresh, 1, HOME=home, XDG_CACHE_HOME=home) + first_runs(fresh, 1, HOME=home, XDG_CACHE_HOME=home)
    assert again[0] == again[1] and again[0][0] == COMPILING and again[0][1].endswith(" 42 False")
    assert not list(fresh.rglob("*.nbi"))
