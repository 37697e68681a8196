"""A whole session under strace: nothing is sent, nothing is written where it should not be, nothing hangs or nags."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.program import HOME, command, environment, posix, write
from tests.recordings import CLEAN

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

# onnxruntime sends nothing where it believes to be in continuous integration: the tests shall see what users get.
QUIET_PLACES = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TRAVIS", "CIRCLECI", "APPVEYOR")

_LIBRARY = """
import rtsep, soundfile
model = rtsep.load("denoise")
sound, rate = soundfile.read("a.wav", dtype="float32")
rtsep.enhance(sound, rate, model)
"""


def traced(folder: Path, *words: object) -> list[str]:
    """Run a program with all its children under strace, in ``folder``; what they opened, connected to and sent."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    # the empty variable: what rtsep sets must not depend on what the caller's environment says
    own = environment() | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "ORT_DISABLE_TELEMETRY": ""}
    own = {name: value for name, value in own.items() if name not in QUIET_PLACES}
    calls = "trace=connect,sendto,sendmsg,sendmmsg,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2"
    trace = folder.parent / "trace.txt"
    program = ["strace", "-f", "-qq", "-s", "4096", "-e", calls, "-o", str(trace), *map(str, words)]
    done = subprocess.run(program, cwd=folder, env=own, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return trace.read_text(errors="replace").splitlines()


def sent(lines: list[str]) -> list[str]:
    """Connections and messages that leave the machine; sockets within it (AF_UNIX) and netlink are none."""
    network = [line for line in lines if re.search(r"\b(connect|sendto|sendmsg|sendmmsg)\(", line)]
    return [line for line in network if re.search(r"AF_INET|\bsend\w*\(", line)]


def written(lines: list[str]) -> set[str]:
    """Files and folders that were made or opened for writing."""
    makes = r"O_WRONLY|O_RDWR|O_CREAT|\b(mkdir|mkdirat|creat|rename|renameat|renameat2)\("
    found: set[str] = set()
    for line in lines:
        if re.search(makes, line) and not re.search(r"= -1 E\w+", line):
            found.update(re.findall(r'"([^"]*)"', line))
    return found


@needs_strace
@pytest.mark.parametrize(
    "words",
    [
        [sys.executable, "-c", _LIBRARY],
        command("denoise", "a.wav", "-o", "out.wav"),
        command("denoise", "a.wav", "b.wav", "--workers", "2"),
        [sys.executable, "-c", "import training, onnxruntime, benchmarks"],
    ],
    ids=["library", "file", "workers", "training"],
)
def test_nothing_is_sent_and_nothing_written_elsewhere(here, words):
    work = here / "work"
    work.mkdir()
    for name in ("a.wav", "b.wav"):
        write(str(work / name))
    lines = traced(work, *words)
    assert not sent(lines)
    places = (str(work), tempfile.gettempdir(), "/dev/", "/proc/", "pipe:")
    elsewhere = {
        path
        for path in written(lines)
        if path.startswith("/") and not path.startswith(places) and "__pycache__" not in path
    }
    assert not elsewhere
    assert not [path for path in work.joinpath("home").rglob("*") if path.is_file()]


@needs_strace
def test_the_watch_would_notice(here):
    """onnxruntime without rtsep does write to the home; a connection is seen as one."""
    work = here / "work"
    work.mkdir()
    model = HOME / "rtsep" / "models" / "denoise.onnx"
    code = f"import socket, onnxruntime; onnxruntime.InferenceSession({str(model)!r})\n"
    code += "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    lines = traced(work, sys.executable, "-c", code)
    assert len(sent(lines)) == 1
    assert any("Microsoft" in path for path in written(lines))


@needs_strace
def test_a_playlist_that_calls_itself_a_song_fetches_nothing(here):
    work = here / "work"
    work.mkdir()
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://192.0.2.1/a.ts\n#EXT-X-ENDLIST\n"
    (work / "song.wav").write_text(playlist)
    lines = traced(work, "sh", "-c", f"! {sys.executable} -m rtsep denoise song.wav")
    assert not sent(lines)


@posix
def test_a_fork_after_a_load_ends():
    code = "import os, sys, numpy, rtsep\nmodel = rtsep.load('denoise-small')\nif os.fork() == 0:\n"
    code += "    rtsep.enhance(numpy.zeros(4800, numpy.float32), 48000, model); sys.exit(0)\nprint(os.wait()[1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment())
    assert done.stdout == "0\n"


@posix
def test_a_home_that_cannot_be_written_is_no_matter(here):
    (here / "home").write_text("a file, which even root cannot write into")
    own = environment() | {"HOME": str(here / "home"), "XDG_CACHE_HOME": str(here / "home" / "cache")}
    own.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(command("denoise", CLEAN, "-o", "out.flac", "-q"), capture_output=True, env=own, cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert os.path.getsize("out.flac") > 0
