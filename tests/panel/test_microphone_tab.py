"""The Microphone tab in a real browser, on a real sound server: every control moves the engine, and all can use it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.live.servers import pulse_list
from tests.panel.site import PATIENCE_S, Site, wait

expect.set_options(timeout=1000 * PATIENCE_S)


@pytest.fixture
def running(site: Site, page: Page) -> Page:
    """A page, and sound that runs from the microphone to the loudspeaker."""
    if site.microphone.engine is None:
        page.locator("#input").select_option("mic")
        page.locator("#output").select_option("speakers")
        page.locator("#model").select_option("denoise-small")
        page.locator("#run").click()
    site.until(lambda engine: True)
    expect(page.locator("#state")).to_have_text("Running")
    return page


def set_slider(page: Page, name: str, below_most: int) -> str:
    """By keys, as somebody without a mouse does: to its end and so many steps back; the value."""
    slider = page.locator(name)
    slider.press("End")
    for _ in range(below_most):
        slider.press("ArrowLeft")
    return slider.input_value()


def test_nothing_starts_before_it_is_known_where_the_sound_goes(site: Site, page: Page) -> None:
    expect(page.locator("#output")).to_have_value("-")
    expect(page.locator("#output option").first).to_have_text("Choose one")
    page.locator("#run").click()
    expect(page.locator("#told li.problem").first).to_contain_text("Say where the sound goes")
    assert site.microphone.engine is None and page.locator("#run").inner_text() == "Start"
    for control in ("#bypass", "#mute", "#record"):
        expect(page.locator(control)).to_be_disabled()


def test_controls_that_are_heard_at_once(site: Site, running: Page) -> None:
    page, engine = running, site.until(lambda engine: True)
    assert set_slider(page, "#strength", 4) == "27"
    site.until(lambda engine: engine.block.state.strength == 27.0)
    page.locator("#strength").press("End")
    site.until(lambda engine: np.isnan(engine.block.state.strength))
    expect(page.locator("#strength-value")).to_have_text("no limit")

    page.locator("body").press("Space")
    site.until(lambda engine: engine.bypassed and engine.block.state.bypass == 1.0)
    expect(page.locator("#loud")).to_have_text("The original plays")
    page.locator("#bypass").click()
    site.until(lambda engine: engine.block.state.bypass == 0.0)
    expect(page.locator("#bypass")).to_have_attribute("aria-pressed", "false")
    page.locator("#mute").click()
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")  # not the button that was clicked
    site.until(lambda engine: engine.bypassed and engine.muted)
    expect(page.locator("#bypass")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("b")
    site.until(lambda engine: engine.block.state.bypass == 0.0)
    site.until(lambda engine: engine.block.state.volume == 0.0)
    page.keyboard.press("m")
    site.until(lambda engine: engine.block.state.volume == 1.0)

    page.locator("#record").click()
    expect(page.locator("#record")).to_have_attribute("aria-pressed", "true")
    begin = engine.block.state.position
    site.until(lambda engine: engine.block.state.position > begin + 24000)
    page.locator("body").press("r")
    expect(page.locator("#told li").first).to_contain_text("Recorded")
    heard, played = (next(site.folder.glob(f"*-{what}.wav")) for what in ("input", "output"))
    sound, rate = soundfile.read(heard)
    assert rate == 48000 and len(sound) >= 24000 and len(soundfile.read(played)[0]) == len(sound)
    assert site.until(lambda engine: True) is engine, "no session was started anew for these"


def modules() -> list[str]:
    """What the sound server was asked to make for rtsep."""
    return [line for line in pulse_list("modules").splitlines() if "_name=rtsep" in line]


def test_settings_that_start_the_session_anew(site: Site, running: Page) -> None:
    """All of them, also by a preset; other programs list the virtual microphone meanwhile, and not longer."""
    page, settings = running, site.until(lambda engine: True).settings
    assert (settings.input, settings.output, settings.slack, settings.muted) == ("mic", "speakers", None, True)
    assert settings.gate is None and settings.input_channels is None and not modules()
    page.locator("#input").select_option("micfeed.monitor")
    page.locator("#input-channels").select_option("left")
    page.locator("#slack").select_option("3")
    page.locator("#model").select_option("denoise")
    page.locator("#virtual").check()
    assert set_slider(page, "#gate", 2) == "58"
    expect(page.locator("#output-field")).to_be_hidden()
    engine = site.until(lambda engine: engine.settings.gate is not None)
    settings, made = engine.settings, modules()
    assert "rtsep_mic" in pulse_list("sources") and any("master=micfeed.monitor" in line for line in made)
    assert settings.labels == ("Null Output", "rtsep_Virtual_Microphone") and not settings.muted
    assert settings.slack == 3 == engine.slack and settings.gate is not None and settings.gate.floor == 58.0
    assert engine.model.spec.name == "denoise" and engine.block.state.gate[0] == 58.0
    assert settings.input_channels == "left"
    expect(page.locator("#slack-now")).to_contain_text("3 ×")
    expect(page.locator("#delay")).to_have_text(f"{engine.added_ms:.2f} ms")

    page.locator("#preset-name").fill("desk")
    page.locator("#save-form button").click()
    expect(page.locator("#told li").first).to_contain_text("Saved desk")
    page.locator("#slack").select_option("")
    page.locator("#model").select_option("denoise-small")
    page.locator("#gate").press("Home")
    expect(page.locator("#gate-value")).to_have_text("off")
    page.locator("#preset").select_option("desk")
    page.locator("#load-form button").click()
    expect(page.locator("#told li").first).to_contain_text("Loaded desk")
    assert site.until(lambda other: other is not engine).settings == settings
    expect(page.locator("#gate-value")).to_have_text("58 dB")
    assert modules() == made

    page.locator("#virtual").uncheck()
    expect(page.locator("#state")).to_have_text("Off")
    expect(page.locator("#told li").first).to_contain_text("choose where the sound goes")
    assert site.microphone.engine is None, "nothing goes to the loudspeaker unasked"
    page.locator("#input").select_option("mic")
    page.locator("#output").select_option("speakers")
    page.locator("#run").click()
    site.until(lambda engine: engine.settings.labels is None and engine.settings.output == "speakers")
    assert not modules() and "rtsep_mic" not in pulse_list("sources")


def test_the_system_default_is_the_sound_servers(site: Site, running: Page) -> None:
    """Both ends by the server's names: one way and one clock, where ALSA's default would be another device."""
    page = running
    page.locator("#run").click()
    expect(page.locator("#state")).to_have_text("Off")
    page.locator("#input").select_option("")
    page.locator("#output").select_option("")
    wait(lambda: {site.microphone.chosen.get(end) for end in ("input", "output")} == {None})
    page.locator("#run").click()
    engine = site.until(lambda engine: True)
    assert (engine.device["input"], engine.device["output"]) == ("mic", "speakers")
    assert engine.status()["clocks"] is None and not engine.block.clocks.separate
    page.locator("#run").click()
    expect(page.locator("#state")).to_have_text("Off")


def test_the_virtual_microphone_follows_the_default(site: Site, running: Page) -> None:
    """The switch is there for the default device, and moves the engine from one microphone to the next."""
    page = running
    page.locator("#run").click()
    expect(page.locator("#state")).to_have_text("Off")
    expect(page.locator("#follow-field")).to_be_hidden()
    page.locator("#virtual").check()
    expect(page.locator("#follow-field")).to_be_hidden()  # a microphone is named
    page.locator("#input").select_option("")
    page.locator("#follow").check()
    wait(lambda: site.microphone.chosen.get("follow_default") is True)
    usb = [
        "load-module",
        "module-remap-source",
        "source_name=usb",
        "master=micfeed.monitor",
        "source_properties=device.description=usb",
    ]
    module = subprocess.run(["pactl", *usb], check=True, capture_output=True, text=True).stdout.strip()
    try:
        page.locator("#run").click()
        engine = site.until(lambda engine: True)
        subprocess.run(["pactl", "set-default-source", "usb"], check=True)
        expect(page.locator("#told li").first).to_contain_text("The microphone is")
        expect(page.locator("#input option").first).to_contain_text("usb")
        wait(lambda: "usb" in heard_by_rtsep())
        assert site.until(lambda engine: True) is engine and engine.restarts == {"worker": 0, "device": 0}
        page.locator("#follow").uncheck()
        site.until(lambda other: other is not engine)
        assert "follow_default" not in site.microphone.chosen
        page.locator("#follow").check()
        wait(lambda: site.microphone.chosen.get("follow_default") is True)
        page.locator("#input").select_option("mic")  # it goes with the default no longer
        wait(lambda: "follow_default" not in site.microphone.chosen)
        expect(page.locator("#follow-field")).to_be_hidden()
    finally:
        subprocess.run(["pactl", "set-default-source", "mic"], check=True)
        page.locator("#run").click()
        expect(page.locator("#state")).to_have_text("Off")
        subprocess.run(["pactl", "unload-module", module], check=True)
    page.locator("#virtual").uncheck()
    wait(lambda: not site.microphone.chosen.get("virtual_mic"))


def heard_by_rtsep() -> list[str]:
    """What rtsep's processes record, by the sources' names."""
    names = dict(line.split("\t")[:2] for line in pulse_list("sources").splitlines())
    return [names.get(line.split("\t")[1], "") for line in pulse_list("source-outputs").splitlines()]


def test_what_is_heard_and_played_is_seen(site: Site, running: Page) -> None:
    """Noise before, less of it after, in levels and in pictures; the figures are the engine's."""
    page = running
    expect(page.locator("#heard")).to_have_attribute("aria-valuenow", re.compile("-(1|2).$"))
    levels = [float(page.locator(name).get_attribute("aria-valuenow") or 0) for name in ("#heard", "#played")]
    assert levels[1] < levels[0] - 6
    expect(page.locator("#late")).to_contain_text(re.compile(r"^\d+ of [\d,]+ "))
    brightness = "canvas => { const d = canvas.getContext('2d').getImageData(500, 0, 90, 128).data;"
    brightness += " return d.reduce((sum, value) => sum + value, 0) / d.length }"
    page.wait_for_timeout(2500)
    before, after = (page.locator(name).evaluate(brightness) for name in ("#before", "#after"))
    assert abs(before - after) > 5, "noise and what is left of it look different"

    page.locator("#pause").click()
    held = page.locator("#before").evaluate("canvas => canvas.toDataURL()")
    page.wait_for_timeout(300)
    assert page.locator("#before").evaluate("canvas => canvas.toDataURL()") == held
    page.locator("#pause").click()
    page.wait_for_timeout(500)
    assert page.locator("#before").evaluate("canvas => canvas.toDataURL()") != held


def test_two_pages_show_the_same_and_closing_them_stops_nothing(
    site: Site, running: Page, opened: Callable[..., Page]
) -> None:
    engine, second = site.until(lambda engine: True), opened()
    set_slider(running, "#strength", 3)
    expect(second.locator("#strength-value")).to_have_text("at most 28 dB")
    assert second.locator("#strength").input_value() == "28"
    second.locator("#mute").click()
    expect(running.locator("#loud")).to_contain_text("Muted")
    second.locator("#mute").click()
    site.until(lambda engine: not engine.muted)
    running.close()
    second.close()
    calls = engine.block.state.callbacks
    assert site.until(lambda engine: engine.block.state.callbacks > calls + 20) is engine
    third = opened()
    expect(third.locator("#state")).to_have_text("Running")
    assert third.locator("#strength").input_value() == "28"


def test_what_happens_is_seen_wherever_one_is_on_the_page(running: Page, opened: Callable[..., Page]) -> None:
    """On a phone the list of what happened is far below; what a page finds when it is opened is no news."""
    page = opened(viewport={"width": 360, "height": 640})
    expect(page.locator("#state")).to_have_text("Running")
    expect(page.locator("#notice")).to_be_hidden()
    page.locator("#preset-name").fill("phone")
    page.locator("#save-form button").click()
    expect(page.locator("#told li").first).to_contain_text("Saved phone")
    expect(page.locator("#notice")).to_contain_text("Saved phone")
    expect(page.locator("#notice")).to_be_in_viewport()
    tall = opened(viewport={"width": 1280, "height": 2000})
    tall.locator("#preset-name").fill("tall")
    tall.locator("#save-form button").click()
    expect(tall.locator("#told li").first).to_contain_text("Saved tall")
    expect(tall.locator("#notice")).to_be_hidden()


def test_new_devices_are_found(page: Page) -> None:
    made = ["load-module", "module-null-sink", "sink_name=another", "sink_properties=device.description=Another"]
    subprocess.run(["pactl", *made], check=True, capture_output=True)
    page.locator("#find").click()
    expect(page.locator("#output option", has_text="Another")).to_have_count(1)
    expect(page.locator("#input option", has_text="rtsep")).to_have_count(0)


def test_all_can_be_reached_by_keyboard(running: Page) -> None:
    page = running
    wanted = page.evaluate(
        "[...document.querySelectorAll('button, select, input')].filter(e =>"
        " e.offsetParent && !e.disabled && e.tabIndex >= 0).map(e => e.id || e.form.id)"
    )
    page.locator("body").focus()
    reached = []
    for _ in range(len(wanted) + 6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.form?.id"))
    assert len(wanted) > 15 and set(wanted) <= set(reached)
    # In the order in which they stand, so that the focus does not jump about.
    assert [name for name in dict.fromkeys(reached) if name in wanted] == list(dict.fromkeys(wanted))


def test_single_keys_can_be_turned_off(site: Site, running: Page) -> None:
    page, engine = running, site.until(lambda engine: True)
    assert not engine.muted
    page.locator("#single-keys").uncheck()
    page.locator("body").press("m")
    page.locator("#bypass").click()  # comes after it, so that the key had its time
    site.until(lambda engine: engine.bypassed)
    assert not engine.muted
    page.locator("#bypass").click()
    site.until(lambda engine: not engine.bypassed)


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"color_scheme": "light"}, {"width": 360}], ids=str)
def test_accessible(running: Page, opened: Callable[..., Page], options: dict[str, Any]) -> None:
    """axe-core finds nothing on a dark page, a light one, or one of a phone's width, which has no scrollbar either."""
    size = {"width": options.pop("width", 1280), "height": 800}
    page = opened(viewport=size, **options)
    expect(page.locator("#figures")).to_be_visible()
    found = Axe().run(page).response
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert len(found["passes"]) > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_without_motion(running: Page, opened: Callable[..., Page]) -> None:
    page = opened(reduced_motion="reduce")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    picture = page.locator("#before").evaluate("canvas => canvas.toDataURL()")
    expect(page.locator("#heard")).to_have_attribute("aria-valuenow", re.compile("-(1|2).$"))
    assert page.locator("#before").evaluate("canvas => canvas.toDataURL()") == picture


def test_stop(site: Site, running: Page) -> None:
    engine = site.until(lambda engine: True)
    running.locator("#run").click()
    expect(running.locator("#state")).to_have_text("Off")
    assert site.microphone.engine is None
    assert engine.state == "stopped" and engine.processes == {"audio": None, "worker": None}
    expect(running.locator("#figures")).to_be_hidden()
    expect(running.locator("#mute")).to_be_disabled()
    assert not modules()
