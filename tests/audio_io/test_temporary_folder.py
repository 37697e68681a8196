"""What is only there while a file is read, and whose end it comes to when a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

from rtsep.audio_io import temporary_folder as folders
from tests.program import environment, posix

HOLD = """
import time
from rtsep.audio_io.temporary_folder import temporary_folder
with temporary_folder() as folder:
    (folder / "sound.flac").touch()
    print(folder, flush=True)
    time.sleep(600)
"""


@posix
def test_a_folder_of_a_killed_process_is_removed_by_the_next_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / "rtsep-recordings"
    other.mkdir()
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environment() | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    try:
        held = owner.stdout.readline().strip()
        assert os.listdir(held) == ["sound.flac"]
        os.utime(held, (0, 0))
        folders._remove_abandoned.cache_clear()
        with folders.temporary_folder():
            assert os.path.exists(held)  # its owner lives
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    folders._remove_abandoned.cache_clear()
    with folders.temporary_folder() as ours:
        assert sorted(tmp_path.iterdir()) == sorted([ours, other])
    assert list(tmp_path.iterdir()) == [other]


@posix
def test_a_young_folder_and_a_link_stay(tmp_path):
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    young, link = tmp_path / "rtsep-files-young", tmp_path / "rtsep-files-link"
    young.mkdir()
    link.symlink_to(kept)
    (kept / "song.wav").touch()
    folders.remove_abandoned(tmp_path, 60.0)
    assert young.exists() and link.is_symlink()
    folders.remove_abandoned(tmp_path, 0.0)
    assert not young.exists() and link.is_symlink() and (kept / "song.wav").exists()
