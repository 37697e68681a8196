"""`rtsep web` in a real Chromium: what the worklet puts out is the Python stream, from a microphone and from a file."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

import rtsep
from rtsep.export import web
from tests.live import servers
from tests.program import assert_one_sentence, names
from tests.program import rtsep as run
from tests.recordings import NOISY

PATIENCE_MS = 120_000
# Forgets all that came before a recording: it has no slow trunk.
STEADY = str(Path(__file__).parents[1] / "data" / "denoise-small-1.onnx")
SETTLED = 72_000  # samples after which nothing of what came before the recording is left in the network
QUANTUM_MS = 1000 * 128 / 48000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, written by the program; npm fetches the runtime."""
    servers.install("npm", program="npm")
    place = tmp_path_factory.mktemp("web") / "site"
    written = run("web", place, "--model", STEADY)
    assert written.exit_code == 0, written.stderr
    return place


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Any server of static files will do."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One whose microphone plays the demo recording, over and over."""
    servers.install("chromium", program="chromium")
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    sound, rate = soundfile.read(NOISY)
    soundfile.write(heard, sound, rate, subtype="PCM_16")
    options = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Ready; an error of its own, or a request that leaves the site, fails the test."""
    context = browser.new_context(color_scheme="dark")
    opened, wrong = context.new_page(), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("request", lambda asked: None if asked.url.startswith((address, "blob:")) else wrong.append(asked.url))
    opened.goto(address)
    expect(opened.locator("#status")).to_contain_text("Ready", timeout=PATIENCE_MS)
    yield opened
    context.close()
    assert wrong == []


def running(page: Page) -> None:
    page.locator("body:not([data-state=stopped])").wait_for(timeout=PATIENCE_MS)
    assert page.get_attribute("body", "data-state") == "running", page.inner_text("#status")


def recorded(page: Page, tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What the worklet heard and what it put out, quantum for quantum; for longer where the machine was too slow."""
    for seconds in (2.0, 6.0):
        page.click("#record")
        time.sleep(seconds)
        page.click("#record")
        found = []
        for name in ("before", "after"):
            with page.expect_download() as saved:
                page.click(f"#save-{name}")
            assert saved.value.suggested_filename == f"{name}.wav"
            saved.value.save_as(tmp_path / f"{name}.wav")
            sound, rate = soundfile.read(tmp_path / f"{name}.wav", dtype="float32")
            assert rate == 48000 and len(sound) % 128 == 0
            found.append(sound)
        if min(map(len, found)) > SETTLED + 4800:
            return found[0], found[1]
    pytest.fail("The worklet is far slower than time.")


def streamed(sound: np.ndarray, strength: float | None = None) -> np.ndarray:
    return rtsep.load(STEADY).stream(block_multiple=128, strength=strength).process(sound)


def test_the_microphone_is_cleaned_as_by_the_python_stream(page: Page, tmp_path: Path) -> None:
    page.click("#microphone")
    running(page)
    before, after = recorded(page, tmp_path)
    demo = soundfile.read(NOISY)[0]
    assert np.sqrt(np.mean(before**2)) == pytest.approx(np.sqrt(np.mean(demo**2)), rel=0.5)  # it is what was played
    assert np.abs(after - streamed(before))[SETTLED:].max() < 1e-4
    assert np.abs(after[SETTLED:]).max() > 0.01
    page.click("#stop")
    expect(page.locator("#status")).to_have_text("Stopped.")


def test_a_file_is_cleaned_with_the_strength_that_is_asked_for(page: Page, tmp_path: Path) -> None:
    page.set_input_files("#file", str(NOISY))
    running(page)
    for strength, limit, shown in ((31, None, "no limit"), (12, 12.0, "12 dB")):
        page.fill("#strength", str(strength))
        expect(page.locator("#limit")).to_have_text(shown)
        before, after = recorded(page, tmp_path)
        assert np.abs(after - streamed(before, limit))[SETTLED:].max() < 1e-4
    page.fill("#strength", "31")
    page.check("#original")
    before, after = recorded(page, tmp_path)
    assert np.abs(after[SETTLED:] - before[SETTLED - 128 : -128]).max() < 1e-6


def test_a_quantum_is_computed_in_its_time(page: Page) -> None:
    """The mean of a second each; the machine may have other work, so the best of many counts."""
    page.set_input_files("#file", str(NOISY))
    running(page)
    end, best = time.monotonic() + 60, np.inf
    while best > 0.5 * QUANTUM_MS and time.monotonic() < end:
        time.sleep(1.0)
        best = min(best, float(page.evaluate("document.body.dataset.compute ?? Infinity")))
    print(f"compute for a quantum: {best:.3f} of {QUANTUM_MS:.3f} ms")
    assert best < 0.5 * QUANTUM_MS
    assert "2.67 ms by the network" in page.inner_text("#delay")


def test_what_is_no_sound_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("no sound")
    page.set_input_files("#file", str(tmp_path / "text.txt"))
    expect(page.locator("#status")).to_contain_text("It did not work", timeout=PATIENCE_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 375, "height": 700})
    page.set_input_files("#file", str(NOISY))
    running(page)
    page.evaluate("document.querySelectorAll('[hidden]').forEach(each => { each.hidden = false; })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_refusals(here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("package.tgz").write_bytes(b"another")
    for words, said in (
        (["new", "--runtime", "package.tgz"], "its digest is another"),
        (["new", "--runtime", "none.tgz"], "cannot be read"),
        (["new", "--model", "karaoke"], "must be mono"),
    ):
        refused = run("web", *words)
        assert refused.exit_code == 2
        assert_one_sentence(refused, said)
    monkeypatch.setattr(web.shutil, "which", lambda _: None)
    refused = run("web", "new")
    assert refused.exit_code == 1
    assert_one_sentence(refused, "npm", "--runtime")
    assert names(here) == ["package.tgz"]


def test_the_page_is_all_that_is_written(folder: Path) -> None:
    assert {"index.html", "page.mjs", "processor.mjs", "model.onnx", "model.json", "runtime"} <= set(names(folder))
    assert names(folder / "runtime") == ["LICENSE.txt", *web._RUNTIME]
    assert not [name for name in names(folder) if name.startswith(".")]


def test_the_modules_are_well_formed(folder: Path) -> None:
    servers.install("nodejs", program="node")
    for module in sorted(folder.glob("*.mjs")):
        checked = subprocess.run(["node", "--check", module], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0, checked.stderr
