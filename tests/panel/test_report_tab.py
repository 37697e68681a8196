"""The Report tab in a real browser: a measurement is started, watched, stopped, and its page seen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rtsep.errors import InputError
from rtsep.panel.report import Report
from tests.live.servers import install
from tests.panel.accessibility import assert_accessible
from tests.panel.site import PATIENCE_S, Site, wait

expect.set_options(timeout=1000 * PATIENCE_S)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    install("jackd2", "libportaudio2", program="jackd")
    made = Site(tmp_path_factory.mktemp("recordings"))
    yield made
    made.end()


@pytest.fixture
def report(site: Site) -> Report:
    return site.panel.tabs.report


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    found = opened()
    found.locator("#tab-report").click()
    return found


def processes(words: str) -> list[str]:
    """Numbers of the processes of this machine whose command has these words."""
    found = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in found.splitlines() if words in line]


def running() -> list[str]:
    """Measurements that were started with the figure that only these tests use."""
    return processes("bench live --model denoise-small --seconds 0.5 --json -")


def test_a_measurement_can_be_stopped(page: Page, report: Report, opened: Callable[..., Page]) -> None:
    """By another page as well; then nothing of it runs any more."""
    page.locator("#measure-seconds").select_option("0.5")
    page.locator("#measure-model").select_option("denoise-small")
    page.locator("#measure").click()
    expect(page.locator("#measure-step")).to_have_text("round trip and its parts …")
    (number,) = running()
    assert report.state()["model"] == "denoise-small" and report.state()["steps"] == 5
    wait(lambda: processes(f"jackd -n rtsep_private_{number}"))
    with pytest.raises(InputError, match="runs already"):
        report.measure("denoise", 1.0, True)
    other = opened()
    other.locator("#tab-report").click()
    other.locator("#measure-stop").click()
    expect(page.locator("#report-told li").first).to_have_text("The measurement was stopped.")
    expect(page.locator("#measure")).to_be_visible()
    assert not running() and report.state()["made"] == 0
    wait(lambda: not processes(f"rtsep_private_{number}"))
    expect(page.locator("#measured")).to_be_hidden()


def test_the_report_is_seen_and_kept(page: Page, report: Report, opened: Callable[..., Page]) -> None:
    page.locator("#measure-seconds").select_option("0.5")
    page.locator("#measure-quick").press("Space")
    page.locator("#measure").press("Enter")
    wait(lambda: report.state()["made"] == 1, seconds=300)
    result = report.result()
    assert [entry["load"] for entry in result["loads"]] == ["idle"] and result["model"]["name"] == "denoise-small"
    frame = page.frame_locator("#report-page")
    expect(frame.locator("h1")).to_contain_text("denoise-small")
    expect(frame.locator(".big b").first).to_have_text(f"{result['budget']['round_trip_ms']:.2f} ms")
    assert frame.locator("img").first.evaluate("image => image.naturalWidth > 100")
    for name, expected in (("page", report.page()), ("figures", json.dumps(result))):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Keep the {name}").click()
        assert Path(download.value.path()).read_text("utf-8") == expected

    def fill(other: Page) -> None:
        other.locator("#tab-report").click()
        expect(other.frame_locator("#report-page").locator("h1")).to_be_visible()

    assert_accessible(opened, fill)


def test_what_cannot_be_measured_is_refused(report: Report) -> None:
    for model, seconds in (("nothing", 1.0), ("spleeter", 1.0), ("denoise", 0.1), ("denoise", 3600.0)):
        with pytest.raises(InputError):
            report.measure(model, seconds, True)
    assert not report.state()["on"]
