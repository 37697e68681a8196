"""Machine code that is kept: the same bits in a first run and in all that follow, and never code of other sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rtsep
from rtsep.engine.compile_notice import COMPILING

pytestmark = pytest.mark.long  # compiles for a minute

# Prints the sentence of a first run, if it is one, and the digest of some seconds of sound.
PROGRAM = """
import hashlib, sys
import numpy as np
import rtsep
from rtsep.engine.compile_notice import tell_by
tell_by(print)
sound = np.random.default_rng(0).standard_normal(4 * 48000).astype(np.float32) / 8
made = hashlib.sha256()
for rate in (None, 44100):
    stream = rtsep.load("denoise-small", "compiled").stream(rate, hops=4)
    made.update(stream.process(sound).tobytes() + stream.flush().tobytes())
native = rtsep.load("denoise-small", "compiled").native_step()
for hop in sound.reshape(-1, native.hop):
    made.update(native.step(hop)[0].tobytes())
print(made.hexdigest(), "numba" in sys.modules)
"""
# The same of streams of onnxruntime, which share the smaller functions with those.
OTHER = PROGRAM[: PROGRAM.index("native =")].replace('"compiled"', '"onnxruntime"') + PROGRAM.splitlines()[-1]
# The same of one small function.
SMALL = """
import sys
from rtsep.engine.compile_notice import tell_by
from rtsep.engine.stream_words import take_block
tell_by(print)
take_block.load()
print("numba" in sys.modules)
"""


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder with an rtsep that never ran."""
    ignored = shutil.ignore_patterns("__pycache__", "karaoke.onnx", "denoise.onnx")
    shutil.copytree(Path(rtsep.__file__).parent, tmp_path / "rtsep", ignore=ignored)
    return tmp_path


def runs(folder: Path, *programs: str, **variables: str) -> list[list[str]]:
    """What programs print that run at once, of the rtsep that lies in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **variables}
    pipe, commands = subprocess.PIPE, [[sys.executable, "-c", program] for program in programs]
    running = [subprocess.Popen(each, cwd=folder, env=environment, stdout=pipe, text=True) for each in commands]
    told = [process.communicate(timeout=600)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0] * len(programs)
    return told


def kept(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*.native")}


def test_first_runs_at_once_and_those_after_them_have_the_same_bits(fresh: Path) -> None:
    first = runs(fresh, PROGRAM, OTHER)
    assert [COMPILING] in [lines[:-1] for lines in first]
    files = kept(fresh)
    assert len(files) >= 10 and not [path for path in files if path.name.startswith("new")]
    digest, other = (lines[-1].split()[0] for lines in first)
    assert runs(fresh, PROGRAM, OTHER) == [[f"{digest} False"], [f"{other} False"]]  # Numba is not even loaded

    # What is damaged or missing is compiled anew, by itself, and what stands elsewhere in the sources changes the name.
    damaged, missing = sorted(files)[:2]
    damaged.write_bytes(files[damaged][:-7])
    missing.unlink()
    assert runs(fresh, PROGRAM) == [[COMPILING, f"{digest} True"]]
    assert set(kept(fresh)) == set(files)
    limits = fresh / "rtsep" / "engine" / "limits.py"
    limits.write_text(limits.read_text().replace("LIMIT = 8.0", "LIMIT = 0.01"))
    assert runs(fresh, SMALL) == [[COMPILING, "True"]]
    assert len(kept(fresh)) == len(files) and len(set(kept(fresh)) - set(files)) == 1


def test_where_nothing_can_be_kept_all_works_as_well(fresh: Path) -> None:
    """No folder, neither beside the code nor in the user's home: files lie in their way, even for root."""
    for folder in ("engine", "engine/compiled"):
        (fresh / "rtsep" / folder / "__pycache__").write_text("")
    (fresh / "home").write_text("")
    home = str(fresh / "home")
    places = {"HOME": home, "XDG_CACHE_HOME": home}
    assert runs(fresh, SMALL, **places) == [[COMPILING, "True"]] and not kept(fresh)
    (fresh / "home").unlink()
    assert runs(fresh, SMALL, **places) == [[COMPILING, "True"]]
    assert all(path.is_relative_to(fresh / "home") for path in kept(fresh)) and kept(fresh)
    assert runs(fresh, SMALL, **places) == [["False"]]
