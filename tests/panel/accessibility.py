"""Whether all can use a tab: axe-core finds nothing, in dark and in light, and a phone needs no scrolling sideways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WAYS: tuple[dict[str, Any], ...] = (
    {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    {"color_scheme": "light", "viewport": {"width": 360, "height": 800}, "reduced_motion": "reduce"},
)


def assert_accessible(opened: Callable[..., Page], fill: Callable[[Page], None]) -> None:
    """opened: see conftest. fill: brings a new page to where it shall be looked at."""
    for way in WAYS:
        page = opened(**way)
        fill(page)
        found = Axe().run(page).response
        assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found["violations"]] == []
        assert len(found["passes"]) > 15
        assert page.evaluate("document.documentElement.scrollWidth") <= way["viewport"]["width"]
