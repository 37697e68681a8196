"""The Files tab in a real browser: recordings in, before and after in sync, blind tests, files out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from rtsep.panel.blind_test import binomial_p
from rtsep.panel.files import Files
from tests.panel.accessibility import assert_accessible
from tests.panel.site import PATIENCE_S, Site, wait

expect.set_options(timeout=1000 * PATIENCE_S)
RATE = 48000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("recordings"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of noise that never repeats."""
    path = tmp_path_factory.mktemp("takes") / "take one.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(12 * RATE), RATE, "FLOAT")
    return path


@pytest.fixture
def files(site: Site) -> Files:
    return site.panel.tabs.files


@pytest.fixture
def page(opened: Callable[..., Page], files: Files, take: Path) -> Page:
    """The tab, with a recording that is there twice: cleaned, and with strength 0, which changes no sample."""
    found = opened()
    found.locator("#tab-files").click()
    if not files.state()["recordings"]:
        found.locator("#files-model").select_option("denoise-small")
        found.locator("#files-strength").press("Home")
        wait(lambda: (files.state()["model"], files.state()["strength"]) == ("denoise-small", "0"))
        found.locator("#files-input").set_input_files(take)
        expect(found.locator("#recordings .done")).to_have_count(1)
        found.locator("#files-strength").press("End")
        wait(lambda: files.state()["strength"] == "max")
        found.get_by_role("button", name="Clean again").click()
    expect(found.locator("#recordings .done")).to_have_count(2)
    return found


def test_recordings_are_dropped_refused_fetched_and_removed(page: Page, files: Files, take: Path) -> None:
    data = base64.b64encode(take.read_bytes()[: 4 * RATE]).decode()
    page.evaluate(
        """([data]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const dropped = new DataTransfer();
            dropped.items.add(new File(["nothing"], "notes.txt"));
            dropped.items.add(new File([bytes], "dropped.wav"));
            const options = { dataTransfer: dropped, bubbles: true, cancelable: true };
            document.querySelector("#files-drop").dispatchEvent(new DragEvent("drop", options));
        }""",
        [data],
    )
    second = page.locator("#recordings > li").nth(1)
    expect(second.locator("h3")).to_have_text("dropped.wav")
    expect(page.locator("#files-told li.problem").last).to_contain_text("notes.txt")
    expect(second.locator(".done, .failed")).to_have_count(1)  # it is cut off, but what there is is cleaned
    with page.expect_download() as download:
        second.get_by_role("link").click()
    assert download.value.suggested_filename == "dropped.denoised.wav"
    number = files.state()["recordings"][1]["number"]
    assert Path(download.value.path()).read_bytes() == files.path(number, 1).read_bytes()
    second.get_by_role("button", name="Remove").click()
    expect(page.locator("#recordings > li")).to_have_count(1)
    assert len(files.state()["recordings"]) == 1


# What the loudspeaker gets, [samples], written down in the audio thread.
TAP = """async () => {
    const code = `registerProcessor("tap", class extends AudioWorkletProcessor {
        process([[left]]) { if (left) this.port.postMessage(left.slice()); return true; }
    })`;
    window.heard = [];
    const { SyncedPlayer } = await import("./synced_player.mjs");
    const load = SyncedPlayer.prototype.load;
    SyncedPlayer.prototype.load = function (...values) {
        load.apply(this, values);
        window.player = this;
        if (this.tapped === this.gains[0]) return;
        this.tapped = this.gains[0];
        this.gains.forEach((gain) => gain.connect(window.tap ??= this.context.createGain()));
    };
    window.listenTo = async () => {
        const { context } = window.player;
        await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
        const node = new AudioWorkletNode(context, "tap");
        node.port.onmessage = ({ data }) => window.heard.push(data);
        window.tap.connect(node);
        node.connect(context.destination);
    };
}"""


def heard(page: Page) -> np.ndarray:
    code = "btoa(window.heard.map((data) => String.fromCharCode(...new Uint8Array(data.buffer))).join(''))"
    return np.frombuffer(base64.b64decode(page.evaluate(code)), np.float32)


def test_versions_play_in_sync_and_are_switched_without_a_gap(
    opened: Callable[..., Page], page: Page, take: Path
) -> None:
    """Original and its copy through strength 0: while it is switched to and fro, the very samples of the file come."""
    page = opened(bypass_csp=True)
    page.evaluate(TAP)
    page.locator("#tab-files").click()
    page.get_by_role("button", name="Listen").click()
    expect(page.locator("#listen-versions input")).to_have_count(3)
    page.wait_for_function("window.player")
    page.evaluate("window.listenTo()")
    for _ in range(5):  # on a machine that is too busy to fetch a second of sound in a second
        page.evaluate("(window.heard.length = 0, window.player.seek(0), window.player.stalls = 0)")
        page.locator("#listen-play").click()
        page.wait_for_function("window.player.place > 20000")
        for key in ("1", "2", "1", "b", "b"):
            page.keyboard.press(key)
            page.wait_for_timeout(150)
        page.wait_for_function("window.player.place > 120000")  # over where stretches meet
        page.keyboard.press(" ")
        assert page.evaluate("window.player.heard") == 0
        wait(lambda: not page.evaluate("window.player.playing"))
        if not page.evaluate("window.player.stalls"):
            break
    got, sound = heard(page), soundfile.read(take, dtype="float32")[0]
    begin = int(np.argmax(np.abs(got) > 0))
    got = got[begin : begin + 100000]
    differ = np.flatnonzero(np.abs(got - sound[: len(got)]) > 1e-5)
    assert len(got) == 100000 and not len(differ), f"first at {differ[:1]}, {len(differ)} in all"


def test_switching_back_within_a_fade_does_not_click(page: Page) -> None:
    """Of a constant 1 in the first version and nothing in the second, whenever it is switched back: small steps."""
    code = """async (back) => {
        const { RATE, SyncedPlayer } = await import("./synced_player.mjs");
        const player = new SyncedPlayer(() => {}, () => {});
        const context = player.context = new OfflineAudioContext(1, RATE / 10, RATE);
        player.load(["", ""], RATE);
        const source = new ConstantSourceNode(context);
        source.connect(player.gains[0]);
        source.start();
        player.choose(1);
        context.suspend(back).then(() => { player.choose(0); context.resume(); });
        return Array.from((await context.startRendering()).getChannelData(0));
    }"""
    for back in (0.003, 0.012, 0.015, 0.019, 0.03):
        got = np.array(page.evaluate(code, back))
        assert np.abs(np.diff(got)).max() < 1.01 / 480, back  # a fade is 480 samples long
        assert got[0] == got[-1] == 1 and abs(got.min()) < 1e-9


def test_a_place_is_sought_on_the_waveform(page: Page) -> None:
    page.get_by_role("button", name="Listen").click()
    slider = page.locator("#listen-wave input")
    expect(slider).to_have_attribute("aria-valuetext", "0:00 of 0:12")
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(page.locator("#listen-clock")).to_have_text("0:10 / 0:12")
    box = page.locator("#listen-wave").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#listen-clock")).to_have_text("0:06 / 0:12")
    page.locator("#listen-play").click()
    expect(page.locator("#listen-clock")).to_have_text("0:07 / 0:12")
    page.keyboard.press("Space")
    expect(page.locator("#listen-play")).to_have_text("Play")
    ink = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(v => v)"
    assert page.locator("#listen-wave canvas").evaluate(ink)


def test_a_blind_test(page: Page, opened: Callable[..., Page], files: Files) -> None:
    """By keys; a second page sees the same trial; nothing is told before the last answer, then what chance would do."""
    page.get_by_role("button", name="Listen").click()
    page.locator("#blind summary").press("Enter")
    page.locator("#blind-trials").select_option("6")
    page.locator("#blind-begin").press("Enter")
    expect(page.locator("#listen-versions label")).to_have_text(["A", "B", "X"])
    other = opened()
    other.locator("#tab-files").click()
    expect(other.locator("#blind-trial")).to_contain_text("Trial 1 of 6")
    page.locator("#listen-play").press("Enter")
    for key, which in (("x", 2), ("a", 0), ("b", 1)):
        page.keyboard.press(key)
        expect(page.locator("#listen-versions input").nth(which)).to_be_checked()
    for trial in range(6):
        expect(page.locator("#blind-trial")).to_contain_text(f"Trial {trial + 1} of 6")
        state = files.state()["blind"]
        assert state["at"] == trial and state["results"] == []
        page.locator("#blind-a").press("Enter")
    expect(page.locator("#blind-verdict")).to_contain_text("of 6 right")
    (result,) = files.state()["blind"]["results"]
    assert result["p"] == binomial_p(result["correct"], 6)
    expect(page.locator("#blind-results td").nth(1)).to_have_text(f"{result['correct']} of 6")
    expect(other.locator("#blind-verdict")).to_have_text(page.locator("#blind-verdict").inner_text())
    page.locator("#blind-again").click()
    expect(other.locator("#blind-form")).to_be_visible()
    assert files.state()["blind"] is None


def test_accessible(page: Page, opened: Callable[..., Page]) -> None:
    def fill(other: Page) -> None:
        other.locator("#tab-files").click()
        other.get_by_role("button", name="Listen").click()
        other.locator("#blind summary").click()
        expect(other.locator("#listen-versions input")).to_have_count(3)

    assert_accessible(opened, fill)
