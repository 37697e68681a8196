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
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

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
    noise = 0.1 * np.random.default_rng(0).standard_normal(48000 * 300)
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


@pytest.fixture
def opened(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """``opened(**context)``: another page of the panel, whose errors fail the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(**options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(site.address)
        expect(page.locator("#find")).to_have_text("Look again", timeout=1000 * PATIENCE_S)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    return opened()
