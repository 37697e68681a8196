"""Recordings on their way to the panel and back: what is taken, what is refused, and that nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
import soundfile
import soxr

from rtsep.audio_io.batch import plan, run
from rtsep.errors import InputError
from rtsep.panel import uploads
from rtsep.panel.files import Files
from rtsep.panel.uploads import MOST_BYTES, Uploads, clean_name
from tests.panel.site import Site, wait

DEMO = Path(__file__).parents[1] / "data" / "demo.noisy.flac"


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporary files go meanwhile."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def site(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("recordings"))
    yield made
    made.end()
    assert list(temporary.iterdir()) == []


@pytest.fixture
def files(site: Site) -> Iterator[Files]:
    yield site.panel.tabs.files
    for recording in site.panel.tabs.files.state()["recordings"]:
        site.panel.tabs.files.remove(recording["number"])


def put(site: Site, name: str, data: bytes, origin: bool = True) -> tuple[int, str]:
    place = urlsplit(site.address)
    headers = {"Origin": f"http://{place.netloc}"} if origin else {}
    request = urllib.request.Request(
        f"{site.address}files/recording?name={quote(name)}", data=data, headers=headers, method="PUT"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def get(site: Site, path: str) -> bytes:
    with urllib.request.urlopen(site.address + path, timeout=60) as answer:
        return bytes(answer.read())


def done(files: Files, number: int = -1) -> dict[str, Any]:
    """The newest recording, once its newest version is made."""
    wait(lambda: files.state()["recordings"][number]["versions"][-1]["state"] in ("done", "failed"))
    recording: dict[str, Any] = files.state()["recordings"][number]
    return recording


def test_a_recording_comes_back_as_the_command_line_makes_it(
    site: Site, files: Files, temporary: Path, tmp_path: Path
) -> None:
    files.choose("denoise-small", "12")
    assert put(site, "../my take.flac", DEMO.read_bytes())[0] == 200
    recording = done(files)
    number, version = recording["number"], recording["versions"][1]
    assert recording["name"] == "my take.flac" and recording["seconds"] == pytest.approx(soundfile.info(DEMO).duration)
    assert version["label"] == "denoise-small, at most 12 dB" and version["file"] == "my take.denoised.flac"
    (tmp_path / "out").mkdir()
    (outcome,) = run(plan([str(DEMO)], str(tmp_path / "out")), "denoise-small", 12.0)
    assert outcome.job.target is not None
    wanted, _ = soundfile.read(outcome.job.target)
    (tmp_path / "got.flac").write_bytes(get(site, f"files/{number}/1/file"))
    assert np.array_equal(soundfile.read(tmp_path / "got.flac")[0], wanted)

    for version, sound in ((0, soundfile.read(DEMO)[0]), (1, wanted)):
        heard = np.frombuffer(get(site, f"files/{number}/{version}/samples?at=30000&count=60000"), "<f4").reshape(-1, 2)
        at_48000 = soxr.resample(sound, soundfile.info(DEMO).samplerate, 48000)[30000:90000, None]
        assert np.allclose(heard, at_48000, atol=1e-5), "any stretch, to the sample"

    with pytest.raises(InputError, match="already"):
        files.clean(number)
    files.choose("denoise-small", "0")
    files.clean(number)
    assert done(files)["versions"][2]["label"] == "denoise-small, at most 0 dB"
    files.remove(number)
    assert not list(temporary.rglob("*.*")), "nothing of a removed recording is left"


def test_blind_sounds_are_equally_loud(site: Site, files: Files) -> None:
    """A version that is much quieter is not: the other is turned down, and in files nothing changes."""
    files.choose("denoise-small", "max")
    put(site, "take.flac", DEMO.read_bytes())
    number = done(files)["number"]
    files.begin_blind_test(number, [0, 1], 6)
    wanted = {version: files.sounds.loudness(files.path(number, version)) for version in (0, 1)}
    assert wanted[1] < wanted[0] - 0.3
    blind = files._blind
    assert blind is not None
    powers = {}
    for sound in "abx":
        heard = np.frombuffer(get(site, f"files/blind/0/{sound}/samples?at=0&count=400000"), "<f4").reshape(-1, 2)
        plain = np.frombuffer(
            get(site, f"files/{number}/{blind[1].version(0, sound)}/samples?at=0&count=400000"), "<f4"
        ).reshape(-1, 2)
        powers[sound] = 20 * np.log10(np.abs(heard).max() / np.abs(plain).max()) + wanted[blind[1].version(0, sound)]
    assert powers["a"] == pytest.approx(powers["b"], abs=0.01) == pytest.approx(min(wanted.values()), abs=0.01)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(site, "files/blind/1/x/samples?at=0&count=10")
    files.remove(number)
    assert files.state()["blind"] is None


def test_what_is_no_recording_is_refused_in_one_sentence(site: Site, files: Files, temporary: Path) -> None:
    for name, data, words in (
        ("notes.txt", b"no sound at all", "notes.txt"),
        ("empty.wav", b"", "empty"),
        ("torn.wav", DEMO.read_bytes()[:20], "torn.wav"),
    ):
        status, answer = put(site, name, data)
        assert status == 200 and "refused" in answer and words in answer and str(temporary) not in answer, answer
        assert files.state()["told"][-1]["kind"] == "problem" and words in files.state()["told"][-1]["sentence"]
    too_large = get(site, f"files/recording/ask?name=film.mkv&size={MOST_BYTES + 1}").decode()
    assert "refused" in too_large and "2.1 GB" in too_large
    assert get(site, f"files/recording/ask?name=take.wav&size={1 << 20}") == b"{}"
    assert files.state()["recordings"] == [] and not list(temporary.rglob("*.*"))


def test_other_pages_cannot_send(site: Site, files: Files) -> None:
    assert put(site, "take.flac", DEMO.read_bytes(), origin=False)[0] == 403
    assert files.state()["recordings"] == []


def test_a_disk_without_room_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_FREE", 1 << 40)
    with pytest.raises(InputError, match="no room for take"):
        Uploads().check("take.wav", 1 << 20)


def test_an_upload_that_is_broken_off_leaves_nothing(site: Site, files: Files, temporary: Path) -> None:
    place = urlsplit(site.address)
    connection = HTTPConnection(place.netloc, timeout=60)
    connection.putrequest("PUT", f"{place.path}files/recording?name=take.flac")
    connection.putheader("Origin", f"http://{place.netloc}")
    connection.putheader("Content-Length", str(DEMO.stat().st_size))
    connection.endheaders()
    connection.send(DEMO.read_bytes()[:100000])
    wait(lambda: files.state()["recordings"] and files.state()["recordings"][0]["arrived"] == 100000)
    assert files.state()["recordings"][0]["seconds"] is None
    connection.close()
    wait(lambda: not files.state()["recordings"])
    wait(lambda: not list(temporary.rglob("*.*")))


def test_a_recording_that_is_removed_while_it_is_cleaned_is_gone(
    site: Site, files: Files, temporary: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(48000 * 120), 48000)
    files.choose("denoise", "max")
    put(site, "long.wav", (tmp_path / "long.wav").read_bytes())
    version = files.state()["recordings"][0]["versions"][1]
    assert version["state"] in ("waiting", "working")
    files.remove(files.state()["recordings"][0]["number"])
    wait(lambda: not list(temporary.rglob("*.*")))


def test_a_panel_that_was_killed_leaves_nothing_for_long(temporary: Path) -> None:
    def panel(end: str) -> Path:
        code = "import os, signal; from rtsep.panel.uploads import Uploads; panel = Uploads(); "
        code += f"print(panel.new_folder(), flush=True); {end}"
        environment = os.environ | {"TMPDIR": str(temporary)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        return Path(done.stdout.strip())

    left, own = panel("os.kill(os.getpid(), signal.SIGKILL)"), Uploads()
    living = own.new_folder()
    assert left.is_dir() and living.is_dir()
    for folder in (left, living):
        os.utime(folder.parent, (time.time() - 120,) * 2)  # what is younger may be in the making
    other = panel("panel.close()")
    assert not left.exists() and not other.exists()
    assert living.is_dir(), "what a living one has stays"
    own.close()
    assert not living.parent.exists()


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("take.wav", "take.wav"),
        ("../../etc/take.wav", "take.wav"),
        ("C:\\takes\\take.wav", "take.wav"),
        ("", "recording"),
        ("..", "recording"),
        ("a\nb\x1b.wav", "a b\\x1b.wav"),
        ("ö" * 300 + ".flac", "ö" * 72 + ".flac"),
    ],
)
def test_names_are_names(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned
