"""Ctrl-C at the earliest moment: the program says nothing, as later on."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from rtsep.__main__ import main

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
sys.argv = ["rtsep", "models"]
main()
"""


def test_ctrl_c_while_modules_load() -> None:
    for module in ("rtsep.cli", "typer", "rtsep.cli.models"):
        done = subprocess.run([sys.executable, "-c", CODE.format(module=module)], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", ""), module
