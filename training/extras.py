"""One sentence, instead of a traceback, where what an optional extra brings is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

EXTRAS = {
    "train": ("torch", "lightning_fabric", "onnx", "yaml", "scipy", "pyroomacoustics"),
    "bench": ("pesq", "pystoi", "scipy", "museval", "yaml"),
    "report": ("matplotlib",),
    "sung": ("pyworld", "mido"),
    "serve": ("picows",),
}


def require(*extras: str) -> None:
    """Ends the program with exit code 1 and one sentence if a module of `extras` is missing.

    A module that is run as a program calls this before its imports; nothing is imported here, only looked for.
    """
    missing = {extra: [name for name in EXTRAS[extra] if find_spec(name) is None] for extra in extras}
    if any(missing.values()):
        names = dict.fromkeys(name for found in missing.values() for name in found)  # each once, in order
        wanted = ",".join(extra for extra, found in missing.items() if found)
        print(f"Not installed: {', '.join(names)}; from the checkout: pip install '.[{wanted}]'.", file=sys.stderr)
        raise SystemExit(1)
