"""Programs of a checkout whose optional packages are not installed: one sentence, or they do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.extras import EXTRAS

ROOT = Path(__file__).parents[1]
NEEDED = {
    "benchmarks.ablation": "train,bench",
    "benchmarks.karaoke": "bench",
    "benchmarks.pesq_proxy": "train,bench",
    "benchmarks.quality": "bench",
    "benchmarks.soak": "",
    "benchmarks.stability": "bench",
    "benchmarks.tables": "bench",
    "benchmarks.throughput": "",
    "benchmarks.windows": "train,report",
    "training.data.pairs": "train",
    "training.evaluate": "bench",
    "training.export": "train",
    "training.guard": "bench",
    "training.train": "train",
}


def test_every_program_is_looked_at() -> None:
    files = (file for room in ("benchmarks", "training") for file in (ROOT / room).rglob("*.py"))
    programs = {file for file in files if '__name__ == "__main__"' in file.read_text(encoding="utf-8")}
    assert {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in programs} == set(NEEDED)


@pytest.mark.parametrize("program", NEEDED)
def test_without_the_extras_there_is_one_sentence(program: str) -> None:
    """Even for --help where the imports need them; what needs none of them runs."""
    hidden = [name for names in EXTRAS.values() for name in names]
    code = f"import runpy, sys; sys.modules |= dict.fromkeys({hidden}); sys.argv = ['x', '--help']; "
    code += f"runpy.run_module({program!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    extras = [extra for extra in NEEDED[program].split(",") if extra]
    if not extras:
        assert done.returncode == 0 and "Usage" in done.stdout, done.stderr
        return
    names = dict.fromkeys(name for extra in extras for name in EXTRAS[extra])
    sentence = f"Not installed: {', '.join(names)}; from the checkout: pip install '.[{','.join(extras)}]'.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_only_what_is_missing_is_named() -> None:
    code = "import sys; sys.modules['pesq'] = None; from training.extras import require; require('train', 'bench')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stderr == "Not installed: pesq; from the checkout: pip install '.[bench]'.\n"
