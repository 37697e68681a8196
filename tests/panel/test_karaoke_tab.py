"""The Karaoke tab in a real browser, on a real sound server: every control moves the player that plays songs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, WebSocketRoute, expect

from rtsep.errors import InputError
from rtsep.live.backends import callbacks
from rtsep.live.player.player import Player
from rtsep.panel.folder_requests import list_folder
from rtsep.panel.karaoke import Karaoke
from tests.live.servers import pulse_list
from tests.panel.accessibility import assert_accessible
from tests.panel.site import PATIENCE_S, Site, wait

expect.set_options(timeout=1000 * PATIENCE_S)
RATE = 48000


@pytest.fixture(scope="module")
def songs(pulse: None) -> Iterator[Path]:
    """A folder for music, where the panel begins to look: two songs of 60 s and what is none."""
    assert callbacks.playing.address  # the cache is full before a child has to fill it while a test waits for its sound
    folder = Path(os.environ["HOME"]) / "Music"
    folder.mkdir()
    for seed, name in enumerate(("first", "second")):
        noise = np.tile(0.1 * np.random.default_rng(seed).standard_normal((10 * RATE, 2)), (6, 1))
        soundfile.write(folder / f"{name}.wav", noise, RATE)
    (folder / "notes.txt").write_text("no song")
    (folder / "more").mkdir()
    yield folder


@pytest.fixture
def karaoke(site: Site) -> Karaoke:
    return site.panel.tabs.karaoke


def playing(karaoke: Karaoke) -> Player:
    player: Player = wait(lambda: karaoke.player if karaoke.player and karaoke.player.state == "running" else None)
    return player


@pytest.fixture
def page(opened: Callable[..., Page], karaoke: Karaoke, songs: Path) -> Page:
    """The tab, where the first song plays."""
    found = opened()
    found.locator("#tab-karaoke").click()
    if not karaoke.state()["playlist"]:
        found.locator("#folder-open").click()
        expect(found.locator("#folders button")).to_have_text(["more"])
        expect(found.locator("#folder-add")).to_have_text("Add this folder (2 songs here, and those in its folders)")
        found.locator("#folder-add").click()
        found.locator("#song-model").select_option("mid-side")
        found.locator("#song-output").select_option("speakers")
    expect(found.locator("#playlist li")).to_have_count(2)
    if karaoke.player is None:
        found.locator("#song-run").click()
    playing(karaoke)
    expect(found.locator("#song-run")).to_have_text("Pause")
    return found


def test_what_a_person_turns_is_heard_at_once(page: Page, karaoke: Karaoke) -> None:
    karaoke.set_vocals(None)  # an earlier attempt may have turned them up
    player = playing(karaoke)
    state, mix = player.block.state, player.block.player
    assert (player.settings.output, player.model.spec.name, mix.vocals_target) == ("speakers", "mid-side", 0.0)
    vocals = page.locator("#vocals")
    vocals.press("End")
    vocals.press("ArrowLeft")
    wait(lambda: mix.vocals_target == pytest.approx(10 ** (-1 / 20)))
    expect(page.locator("#vocals-value")).to_have_text("-1 dB")
    page.locator("body").press("g")
    wait(lambda: mix.vocals_target == pytest.approx(10 ** (-12 / 20)))
    expect(page.locator("#guide")).to_have_attribute("aria-pressed", "true")
    page.locator("#vocals-off").click()
    wait(lambda: mix.vocals_target == 0.0)
    page.locator("body").press("v")
    wait(lambda: mix.vocals_target == pytest.approx(10 ** (-12 / 20)))
    page.locator("#solo").click()
    wait(lambda: (mix.accompaniment_target, mix.vocals_target) == (0.0, 1.0))
    expect(page.locator("#song-loud")).to_have_text("Only the vocals play")
    page.locator("body").press("s")
    wait(lambda: mix.accompaniment_target == 1.0)
    page.locator("#original").click()
    wait(lambda: state.bypass_target == 1.0)
    page.locator("body").press("b")
    wait(lambda: state.bypass_target == 0.0)
    page.locator("#volume").press("ArrowLeft")
    wait(lambda: player.volume == -1.0 and state.volume_target == pytest.approx(10 ** (-1 / 20)))
    page.locator("#key").press("ArrowRight")
    page.locator("#key").press("ArrowRight")
    wait(lambda: player.key == 2)
    expect(page.locator("#key-value")).to_have_text("+2 semitones")
    page.locator("body").press("[")
    wait(lambda: player.key == 1)

    page.locator("#song-run").click()
    wait(lambda: mix.playing_target == 0.0)
    page.locator("#song-wave input").press("ArrowRight")
    wait(lambda: player.position[1] > 4.9)
    place = player.position
    page.keyboard.press("Space")
    wait(lambda: mix.playing_target == 1.0 and player.position > place)
    box = page.locator("#song-wave").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait(lambda: player.position[0] == 0 and 29 < player.position[1] < 35)
    expect(page.locator("#song-clock")).to_have_text(re.compile("^0:3[0-9] / 1:00"))
    page.locator("body").press("n")
    wait(lambda: player.position[0] == 1)
    expect(page.locator("#song-title")).to_have_text("second")
    page.locator("#playlist .song").first.click()
    wait(lambda: player.position[0] == 0)
    assert playing(karaoke) is player, "no session was begun anew for these"
    assert player.status()["late"] <= player.status()["callbacks"] // 4


def test_what_the_server_said_before_it_heard_is_no_news(
    page: Page, karaoke: Karaoke, request: pytest.FixtureRequest
) -> None:
    """What a person turns counts, though older states are still on their way to the page."""
    held: list[str | bytes] = []
    to_page: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        to_page.append(route)
        server = route.connect_to_server()
        server.on_message(lambda message: held.append(message) if hold else route.send(message))

    def pumped(condition: Callable[[], bool]) -> None:
        """Wait while Playwright hands messages on."""
        wait(lambda: page.wait_for_timeout(20) or condition())

    def said(vocals: float) -> bool:
        return any(json.loads(one).get("karaoke", {}).get("vocals") == vocals for one in held if isinstance(one, str))

    hold = False
    page.route_web_socket(re.compile("/socket$"), between)
    request.addfinalizer(page.close)  # what is routed stays so
    page.reload()
    expect(page.locator("#playlist li")).to_have_count(2)
    slider, off = page.locator("#vocals"), page.locator("#vocals-off")
    slider.press("End")
    expect(page.locator("#vocals-value")).to_have_text("0 dB")
    pumped(lambda: karaoke.state()["vocals"] == 0)
    hold = True
    slider.press("ArrowLeft")
    pumped(lambda: said(-1))
    page.locator("body").press("g")
    pumped(lambda: karaoke.state()["vocals"] == -12)
    for message in list(held):  # they say -1 dB
        to_page[0].send(message)
    page.wait_for_timeout(100)
    expect(page.locator("#guide")).to_have_attribute("aria-pressed", "true")
    off.click()
    pumped(lambda: karaoke.state()["vocals"] is None)
    page.locator("body").press("v")
    pumped(lambda: karaoke.state()["vocals"] == -12)


def test_two_pages_show_the_same_and_closing_them_stops_nothing(
    page: Page, opened: Callable[..., Page], karaoke: Karaoke
) -> None:
    player, other = playing(karaoke), opened()
    other.locator("#tab-karaoke").click()
    other.locator("#vocals").press("End")
    expect(page.locator("#vocals-value")).to_have_text("0 dB")
    expect(other.locator("#playlist .song[aria-current]")).to_have_text(page.locator("#song-title").inner_text())
    page.close()
    other.close()
    calls = player.block.state.callbacks
    wait(lambda: player.block.state.callbacks > calls + 10)
    assert playing(karaoke) is player


def test_accessible(page: Page, opened: Callable[..., Page]) -> None:
    def fill(other: Page) -> None:
        other.locator("#tab-karaoke").click()
        other.locator("#folder-open").click()
        expect(other.locator("#folders button")).to_have_count(1)

    assert_accessible(opened, fill)


def test_another_model_a_singer_and_songs_that_are_sent(page: Page, karaoke: Karaoke, songs: Path) -> None:
    """A session anew at the same place; a song that a page sent follows, and is removed with its file."""
    player = playing(karaoke)
    player.seek(20.0, 0)
    wait(lambda: player.position[1] > 20.0)
    page.locator("#singer").select_option("mic")
    expect(page.locator("#karaoke-told li", has_text="mixed in, denoised")).to_have_count(1)
    again = playing(karaoke)
    assert again is not player and again.position[0] == 0 and 20.0 < again.position[1] < 40.0
    assert len(pulse_list("source-outputs").splitlines()) > 1, "the singer is heard beside the player"

    page.locator("#songs-input").set_input_files([songs / "notes.txt", songs / "first.wav"])
    expect(page.locator("#playlist li")).to_have_count(3)
    expect(page.locator("#karaoke-told li.problem").first).to_contain_text("notes.txt")
    sent = wait(lambda: [entry for entry in karaoke._playlist if entry.sent and entry.path])[0]
    assert sent.path.read_bytes() == (songs / "first.wav").read_bytes()
    page.locator("#song-stop").click()
    wait(lambda: karaoke.player is None)
    expect(page.locator("#song-run")).to_have_text("Play")
    assert again.processes == {"audio": None, "worker": None}
    page.locator("#playlist .song").nth(2).click()
    wait(lambda: karaoke.state()["current"] == sent.number)
    expect(page.locator("#playlist .song").nth(2)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Remove").last.click()
    wait(lambda: karaoke.player is None and not karaoke.state()["on"])
    assert not sent.path.exists() and len(karaoke.state()["playlist"]) == 2
    expect(page.locator("#song-title")).to_have_text("No song plays")
    wait(lambda: "rtsep" not in pulse_list("sink-inputs"))
    page.locator("#singer").select_option("")
    wait(lambda: karaoke.state()["singer"] is None)


def test_what_is_playing_elsewhere_is_captured(opened: Callable[..., Page], karaoke: Karaoke, songs: Path) -> None:
    page = opened()
    page.locator("#tab-karaoke").click()
    page.locator("#capture").click()
    session = wait(lambda: karaoke.capture_session)
    assert "rtsep-karaoke" in pulse_list("sinks") and session.engine.model.spec.target == "accompaniment"
    expect(page.locator("#karaoke-told li").first).to_contain_text("Point other players at rtsep-karaoke")
    page.locator("#vocals").press("End")
    for _ in range(6):
        page.locator("#vocals").press("ArrowLeft")
    wait(lambda: session.engine.block.state.strength == 6.0)
    page.locator("body").press("b")
    wait(lambda: session.engine.bypassed)
    expect(page.locator("#song-loud")).to_have_text("The original plays")
    page.locator("#original").click()
    wait(lambda: not session.engine.bypassed)
    expect(page.locator("#key")).to_be_disabled()
    page.locator("#capture").click()
    expect(page.locator("#capture")).to_have_text("Capture what is playing")
    wait(lambda: "rtsep-karaoke" not in pulse_list("sinks"))


def test_folders_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b", "A", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "song.mp3").touch()
    (tmp_path / "notes.txt").touch()
    found = list_folder(tmp_path)
    assert found == {"path": str(tmp_path), "parent": str(tmp_path.parent), "folders": ["A", "b"], "songs": 1}
    assert list_folder(Path("/"))["parent"] is None
    with pytest.raises(InputError, match="cannot be read"):
        list_folder(tmp_path / "nowhere")
