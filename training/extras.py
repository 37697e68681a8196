"""One sentence, instead of a traceback, where what an optional extra brings is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

EXTRAS = {
    "train": ("torch", "lightning_fabric", "onnx", "yaml", "scipy", "pyroomacoustics"),
    "bench": ("pesq", "pystoi"),
    "report": ("matplotlib",),
}


def require(extra: str) -> None:
    """Ends the program with exit code 1 and one sentence if a module of `extra` is missing.

    A module that is run as a program calls this before its imports; nothing is imported here, only looked for.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        print(f"Not installed: {', '.join(missing)}; from the checkout: pip install '.[{extra}]'.", file=sys.stderr)
        raise SystemExit(1)
