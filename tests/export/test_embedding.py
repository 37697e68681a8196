"""examples/clean_flat.c: compiled here, and held against the Python stream, to the bit."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import rtsep
from rtsep.export.flat_form import flat_model
from tests.live import servers
from tests.recordings import noisy

HOME = Path(__file__).parents[2]
PROGRAM = HOME / "examples" / "clean_flat.c"
DECLARED = HOME / "tests" / "data"
# A folder with ONNX Runtime's own header; else what is declared in tests/data takes its place.
INCLUDE = os.environ.get("ONNXRUNTIME_INCLUDE")


@pytest.fixture(
    scope="module", params=[str(DECLARED), *([INCLUDE] if INCLUDE else [])], ids=lambda folder: Path(folder).name
)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled against the C library that comes with the Python package, without a warning."""
    servers.install("build-essential", program="gcc")
    folder = tmp_path_factory.mktemp("embedding")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        shutil.copy(library, folder / name)
    words = ["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{request.param}", str(PROGRAM)]
    words += ["-o", str(folder / "clean_flat"), f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    return folder / "clean_flat"


@pytest.mark.parametrize("name", ["denoise-small", "denoise", "denoise-ahead"])
def test_the_program_is_the_stream(program: Path, tmp_path: Path, name: str) -> None:
    model = rtsep.load(name)
    (tmp_path / "flat.onnx").write_bytes(flat_model(name).content())
    sound = noisy(48000, 1, 2.0)[: 48000 // model.spec.hop * model.spec.hop, 0].astype(np.float32)
    done = subprocess.run([program, tmp_path / "flat.onnx"], input=sound.tobytes(), capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    got = np.frombuffer(done.stdout, np.float32)
    assert np.array_equal(got, model.stream(block_multiple=model.spec.hop).process(sound))
    assert np.abs(got).max() > 0.01


def test_the_program_says_what_is_wrong(program: Path, tmp_path: Path) -> None:
    (tmp_path / "stereo.onnx").write_bytes(flat_model("karaoke").content())
    for words, code, said in (
        ([], 2, b"name the model"),
        (["none.onnx"], 1, b"none.onnx"),
        (["stereo.onnx"], 2, b"not mono"),
    ):
        done = subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path, timeout=120
        )
        assert done.returncode == code and said in done.stderr and done.stderr.startswith(b"clean_flat: ")


def test_the_program_is_short() -> None:
    assert len(PROGRAM.read_text("utf-8").splitlines()) <= 80
