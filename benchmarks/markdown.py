"""Committed results, and the Markdown tables that are made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table: first column to the left, figures to the right."""
    titles = list(header)
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def results(name: str) -> dict[str, Any]:
    """The committed result `name`.json; raises FileNotFoundError if its benchmark has not been run."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
