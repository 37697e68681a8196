"""`rtsep service`: by a real user manager of systemd; what is for macOS and Windows is read back as they would."""

from __future__ import annotations

import os
import plistlib
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtsep.errors import InputError, RtsepError
from rtsep.live.user_service import launchd, service, systemd, task_scheduler
from tests.live import servers
from tests.program import assert_one_sentence, spawn
from tests.systemd import with_user_manager

WORDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=20)
NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1, max_size=20)
ODD = [
    "a b",
    "100%",
    "%h",
    "$HOME",
    "${HOME}",
    "$$",
    "a;b",
    ";",
    'say "yes"',
    "it's",
    "\\x41\\n",
    "two\nlines",
    "\t",
    "#",
    "ü",
]


@given(NAMES)
@example("100% sure")
@example("a $HOME ${HOME} $$ b")
@example("%h; # x")
def test_systemd_finds_the_program_whatever_its_folder_is_called(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """By systemd's own check, which says so when the program is not there."""
    servers.install("systemd", program="systemd-analyze")
    folder = tmp_path_factory.mktemp("unit")
    program = folder / f"in {name}" / "rtsep"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = folder / systemd.NAME
    try:
        file.write_text(systemd.unit([str(program), "denoise", *ODD]), "utf-8")
    except InputError as error:
        assert "path" in str(error) and (set(name) & set("\"'\\") or not name.isprintable())
        return
    environment = os.environ | {"XDG_RUNTIME_DIR": str(folder), "MANPATH": str(folder)}
    words = ["systemd-analyze", "verify", "--user", "--man=no", str(file)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_hands_over_every_word_as_it_was(tmp_path: Path) -> None:
    words = [*ODD, "".join(map(chr, range(1, 128))), "%" * 3, "$" * 3, "\\" * 3]
    shows = tmp_path / "in 50% $HOME" / "shows"
    shows.parent.mkdir()
    out = tmp_path / "words"
    shows.write_text(f"#!{sys.executable}\nimport sys\nopen({str(out)!r}, 'w').write(repr(sys.argv[1:]))\n")
    shows.chmod(0o755)
    place = tmp_path / "config/systemd/user" / systemd.NAME
    place.parent.mkdir(parents=True)
    place.write_text(systemd.unit([str(shows), *words]).replace("[Service]", "[Service]\nType=oneshot"), "utf-8")
    done = with_user_manager(f"systemctl --user start {systemd.NAME}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert out.read_text() == repr(words)


def test_install_status_and_remove(tmp_path: Path) -> None:
    """The service itself finds no sound server here, says so, and is tried again."""
    preset = "mkdir -p config/rtsep && printf '[desk]\\ninput = \"USB Mic\"\\n' > config/rtsep/presets.toml"
    script = f"""
        cd {shlex.quote(str(tmp_path))}
        rtsep service status; echo "status $?"
        rtsep service install && systemctl --user is-enabled rtsep.service
        sleep 3; rtsep service status; echo "status $?"
        systemctl --user show -p NRestarts -p ExecMainStatus -p Restart rtsep.service
        {preset}; rtsep service install --preset desk; grep ExecStart config/systemd/user/rtsep.service
        rtsep service remove; rtsep service status; echo "status $?"; rtsep service remove; find config
    """
    done = with_user_manager(script, tmp_path)
    said = done.stdout.splitlines()
    assert said[:2] == ["not installed", "status 1"], done.stderr
    assert said[3] == "enabled" and said[5] in ("status 0", "status 1")
    assert str(tmp_path / "config/systemd/user/rtsep.service") in said[4]
    assert "Restart=on-failure" in said
    (line,) = [line for line in said if line.startswith("ExecStart=")]
    assert shlex.split(line.removeprefix("ExecStart="))[-5:] == [
        "denoise",
        "--virtual-mic",
        "--notify",
        "--preset",
        "desk",
    ]
    end = said[said.index(line) + 1 :]
    assert end[:4] == ["Stopped and removed.", "not installed", "status 1", "It was not installed."]
    assert not [place for place in end[4:] if "rtsep.service" in place]


def test_without_a_user_manager_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    refused = spawn("service", "install")
    assert refused.returncode == 1
    assert_one_sentence(refused, "user manager of systemd does not answer")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_installation_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "there" / "unit"
    for before in (None, b"old"):
        with pytest.raises(RtsepError), service.replaced(file, b"new"):
            assert file.read_bytes() == b"new"
            raise RtsepError("No.")
        assert (file.read_bytes() if file.exists() else None) == before
        file.write_bytes(b"old")
    assert [path.name for path in file.parent.iterdir()] == ["unit"]


def test_it_runs_this_very_program_and_follows_the_default_microphone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    words = service.command()
    assert words[-4:] == ["denoise", "--virtual-mic", "--notify", "--follow-default"]
    done = subprocess.run([*service.program(), "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("rtsep ")
    with pytest.raises(InputError, match="no preset 'desk'"):
        service.command("desk")


@given(
    st.lists(WORDS, min_size=2, max_size=5).map(
        lambda words: ["".join(filter(str.isprintable, w)) or "x" for w in words]
    )
)
def test_launchd_and_the_task_scheduler_read_back_the_words(words: list[str]) -> None:
    """As far as that can be seen elsewhere: plutil and schtasks were not to be had."""
    read = plistlib.loads(launchd.agent(words))
    assert read["ProgramArguments"] == words and read["RunAtLoad"] and read["KeepAlive"] == {"SuccessfulExit": False}
    namespace = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    root = ElementTree.fromstring(task_scheduler.task(words).decode("utf-16"))
    assert root.findtext("t:Actions/t:Exec/t:Command", namespaces=namespace) == words[0]
    arguments = root.findtext("t:Actions/t:Exec/t:Arguments", namespaces=namespace)
    assert arguments == subprocess.list2cmdline(words[1:])
    order = [child.tag.rpartition("}")[2] for child in root]
    assert order == ["Triggers", "Settings", "Actions"]  # the schema's sequence
