"""What children say before there is sound, and what they give back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rtsep.engine import compile_notice
from rtsep.live.backends.shared_state import SharedBlock
from rtsep.live.engine import supervisor
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.engine.live_supervisor import LiveSupervisor
from rtsep.live.engine.processes import AUDIO, WORKER, Children, child_command


def test_children_that_compile_are_told_of_once_and_waited_for(random_model: str) -> None:
    told: list[str] = []
    compile_notice.tell_by(told.append)
    engine = LiveEngine(LiveSettings(model=random_model))
    engine.block = SharedBlock.create()
    engine.children = Children(engine.block)
    watching = LiveSupervisor(engine)
    for role in (WORKER, AUDIO):
        watching._dispatch(role, {"event": "compiling"})
    assert told == [compile_notice.COMPILING] and watching._opening_s == supervisor._MAX_OPENING_S
    for _ in range(2):  # by the worker, and by the one that comes after it
        watching._dispatch(WORKER, {"event": "not compiled", "sentence": "It is not."})
    assert [sentence for _, sentence in engine.events] == ["It is not."]
    engine.block.close()


def test_a_child_says_that_it_compiles_before_anything_else(tmp_path: Path) -> None:
    """And its parent's packages are found, but for one that numba would load for nothing."""
    module = "import sys\nfrom rtsep.engine.numba_cache import c_function\nfrom numba import int64\n"
    module += "function = c_function(lambda x: x + 1, int64(int64), cache=False)\n"
    module += "print(function.ctypes(2), sys.modules['scipy'])\n"
    (tmp_path / "child_of_a_test.py").write_text(module)
    command = child_command("child_of_a_test")
    command[3] = json.dumps([*json.loads(command[3]), str(tmp_path)])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    first, *_, last = done.stdout.splitlines()
    assert json.loads(first) == {"event": "compiling"} and last == "3 None", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere nothing is given back.")
def test_llvm_gives_its_memory_back_and_works_when_it_is_needed_again() -> None:
    code = (
        "from rtsep.live.backends import realtime\n"
        "from numba import njit\n"
        "def held():\n"
        "    return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssFile')) / 1024\n"
        "twice = njit(lambda x: 2 * x)\n"
        "twice(2)\n"
        "realtime.lock_memory()\n"
        "before = held()\n"
        "realtime.release_compiler()\n"
        "after = held()\n"
        "print(before - after, twice(2.5))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    released, twice = done.stdout.split()
    assert float(released) > 30 and twice == "5.0"
