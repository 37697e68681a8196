"""One panel, one browser and one private sound server for all tests of the page."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from rtsep.live.backends.callbacks import LIVE_CALLBACKS, capturing
from rtsep.live.engine import live_supervisor
from rtsep.live.engine.governor import Governor
from rtsep.live.engine.supervisor import Supervisor
from tests.live.servers import PulseServer, install
from tests.panel.site import PATIENCE_S, Site


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A private PulseAudio whose microphone hears noise; no machine is too slow, and no device lost for slowness."""
    # The caches are full before a child has to fill them while a test waits for its sound.
    assert LIVE_CALLBACKS[""].address and capturing.address
    folder = tmp_path_factory.mktemp("panel")
    noise = np.tile(0.1 * np.random.default_rng(0).standard_normal(48000 * 10), 30)
    soundfile.write(folder / "noise.wav", noise, 48000)
    with pytest.MonkeyPatch.context() as patch, PulseServer():
        patch.setattr(Supervisor, "patience_s", lambda self: 30.0)
        patch.setattr(live_supervisor, "_STUCK_S", 30.0)
        patch.setattr(Governor, "judge", lambda *_: None)
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        root = str(Path(__file__).parents[2])
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
        player = subprocess.Popen(["paplay", "-d", "micfeed", str(folder / "noise.wav")])
        yield
        player.kill()
        player.wait()


@pytest.fixture(scope="module")
def site(pulse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("recordings"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one file: as long as it is there, Playwright's event loop runs in this thread, and no other can."""
    install("chromium", program="chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def usual() -> list[Page]:
    """The page that one test leaves to the next, if there is one: another is a second of work for Chromium."""
    return []


@pytest.fixture
def opened(browser: Browser, site: Site, usual: list[Page]) -> Iterator[Callable[..., Page]]:
    """``opened(**context)``: another page of the panel, whose errors fail the test.

    A test's first one, without options, is the usual one, loaded anew. Who leaves on it what that does not undo closes
    it.
    """
    pages: list[Page] = []
    errors: list[str] = []

    def failed(error: Any) -> None:
        errors.append(str(error))

    def told(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    def open_page(**options: Any) -> Page:
        if options or pages or not usual:
            page = browser.new_context(**options).new_page()
            if not options and not pages:
                usual.append(page)
        else:
            page = usual[0]
        pages.append(page)
        page.on("pageerror", failed)
        page.on("console", told)
        page.goto(site.address)
        expect(page.locator("#find")).to_have_text("Look again", timeout=1000 * PATIENCE_S)
        return page

    yield open_page
    for page in pages:
        if page in usual and not page.is_closed():
            page.evaluate("localStorage.clear()")
            page.remove_listener("pageerror", failed)
            page.remove_listener("console", told)
            page.goto("about:blank")
        else:
            usual[:] = [each for each in usual if each is not page]
            page.context.close()
    assert errors == []


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    return opened()
