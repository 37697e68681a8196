"""Networks that losses listen through: trained by a tool beforehand, read from a file, and never changed again."""

from __future__ import annotations

import pickle
from typing import Any

import torch


def read_frozen(file: str, kind: str, tool: str) -> dict[str, Any]:
    """What `tool` wrote to `file`; raises ValueError with one sentence if it is missing or is no `kind`."""
    advice = f"make it with `python -m training.data.tools.{tool}` and name it (file: …)."
    if not file:
        raise ValueError(f"it needs the file of its {kind}: {advice}")
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"there is no {file}: {advice}") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        found = None
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise ValueError(f"{file} is no {kind}: {advice}")
    return found
