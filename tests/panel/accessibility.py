"""Whether all can use a tab: axe-core finds nothing, in dark and in light, keys reach all, and a phone shows all."""

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
    assert_reached_by_keyboard(page)


def assert_reached_by_keyboard(page: Page) -> None:
    """Tab goes to every control, in the order in which they stand; the arrow keys go on within strips and groups."""
    wanted: list[str] = page.evaluate(
        "[...document.querySelectorAll('button, select, input:not([type=radio]), a[href], summary')].filter(e =>"
        " e.checkVisibility() && !e.disabled && e.tabIndex >= 0).map((e, k) => (e.dataset.k = String(k)))"
    )
    page.locator("body").focus()
    reached: list[Any] = []
    for _ in range(len(wanted) + 16):  # some go through what is framed
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.k"))
    in_order = [key for key in dict.fromkeys(reached) if key is not None]
    assert len(wanted) > 5 and sorted(in_order) == sorted(wanted)
    assert in_order[in_order.index(wanted[0]) :] + in_order[: in_order.index(wanted[0])] == wanted
