"""Programs of a checkout whose optional packages are not installed: one sentence, or they do without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from training.extras import EXTRAS

ROOT = Path(__file__).parents[2]
FILES = [file for room in ("benchmarks", "training") for file in sorted((ROOT / room).rglob("*.py"))]
SOURCES = {".".join(file.relative_to(ROOT).with_suffix("").parts): file.read_text(encoding="utf-8") for file in FILES}
PROGRAMS = [module for module, source in SOURCES.items() if 'if __name__ == "__main__":' in source]


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_the_extras_there_is_one_sentence(program: str) -> None:
    """Even for --help where the imports need them; what says that it needs none of them runs."""
    hidden = [name for names in EXTRAS.values() for name in names]
    code = f"import runpy, sys; sys.modules |= dict.fromkeys({hidden}); sys.argv = ['x', '--help']; "
    code += f"runpy.run_module({program!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    said = re.search(r"^    require\((.*)\)$", SOURCES[program], re.MULTILINE)
    if said is None:
        assert done.returncode == 0 and "Usage" in done.stdout, done.stderr
        return
    extras = re.findall(r"\w+", said[1])
    names = dict.fromkeys(name for extra in extras for name in EXTRAS[extra])
    sentence = f"Not installed: {', '.join(names)}; from the checkout: pip install '.[{','.join(extras)}]'.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_only_what_is_missing_is_named() -> None:
    code = "import sys; sys.modules['pesq'] = None; from training.extras import require; require('train', 'bench')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stderr == "Not installed: pesq; from the checkout: pip install '.[bench]'.\n"
