"""The program stopped half way, by a limit, a full disk or Ctrl-C: nothing half-written stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsep.audio_io.part_file import _remove_abandoned
from tests.program import assert_one_sentence, command, environment, names, posix, rtsep, write
from tests.recordings import identity_model

pytestmark = pytest.mark.long  # programs, started over and over


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"))


@posix
def test_a_limit_on_file_size_leaves_nothing(here, model):
    import resource

    write("a.wav", 5.0, 48000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for target in ("b.wav", "b.flac", "b.ogg"):
        assert rtsep("denoise", "a.wav", "-o", target, "--model", model).exit_code == 0
        size = Path(target).stat().st_size
        Path(target).unlink()
        for room in (size // 2, size - 1):  # the last byte is only missed when the file is closed
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            try:
                result = rtsep("denoise", "a.wav", "-o", target, "--model", model)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert result.exit_code == 1, (target, room, size)
            assert_one_sentence(result, target)
            assert names(here) == ["a.wav"]


@posix
def test_a_full_disk_leaves_nothing(here, model):
    Path("small").mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "small"]
    if not mounted or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        write("a.wav", 10.0, 48000)
        for target in ("b.wav", "b.flac", "b.ogg"):
            sound = soundfile.read("a.wav")[0]
            if target == "b.ogg":  # compresses too well to fill the disk in ten seconds
                soundfile.write("a.wav", np.tile(sound, 6), 48000)
            result = rtsep("denoise", "a.wav", "-o", f"small/{target}", "--model", model)
            assert result.exit_code == 1
            assert_one_sentence(result, "disk is full")
            assert names(here / "small") == []
    finally:
        subprocess.run(["umount", "small"], check=True)


@posix
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_half_way_leaves_nothing(here, model, workers, kind):
    for name in ("a.wav", "b.wav")[:workers]:
        soundfile.write(name, np.zeros(1800 * 8000, np.int16), 8000)
    files = names(here)
    process = subprocess.Popen(
        command("denoise", *files, "--model", model, "--workers", workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,  # a group of its own, all of which Ctrl-C reaches
    )
    try:
        deadline = time.monotonic() + 90
        while not any(path.stat().st_size > 100_000 for path in here.glob(".rtsep-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, kind)  # as a terminal and a service manager do; the workers are no less left in order
        os.killpg(process.pid, kind)  # and impatient people
        stdout, stderr = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stderr.decode() == "rtsep: Stopped; nothing half-written was left behind.\n"
    assert not stdout
    assert names(here) == files


@posix
def test_what_a_killed_process_left_is_removed_by_the_next(here, model):
    """And what another one is at is not, however long it has not written."""
    soundfile.write("a.wav", np.zeros(1800 * 8000, np.int16), 8000)
    write("b.wav")
    process = subprocess.Popen(command("denoise", "a.wav", "--model", model, "--quiet"), env=environment())
    try:
        deadline = time.monotonic() + 90
        while not (parts := list(here.glob(".rtsep-*"))):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        os.utime(parts[0], (0, 0))
        assert rtsep("denoise", "b.wav", "--model", model).exit_code == 0
        assert parts[0].exists()
    finally:
        process.kill()
        process.wait()
    os.utime(parts[0], (0, 0))
    _remove_abandoned.cache_clear()  # another process
    assert rtsep("denoise", "b.wav", "--model", model, "--overwrite").exit_code == 0
    assert names(here) == ["a.wav", "b.denoised.wav", "b.wav"]


def test_whoever_reads_standard_output_may_go_away(tmp_path):
    from tests.recordings import identity_model

    model = identity_model(tmp_path)
    write(str(tmp_path / "long.wav"), seconds=30.0)
    program = subprocess.Popen(
        command("denoise", tmp_path / "long.wav", "-o", "-", "--model", model),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert program.stdout is not None and program.stderr is not None
    program.stdout.read(100)
    program.stdout.close()
    said = program.stderr.read().decode()
    assert program.wait(60) == 1
    assert "went away" in said and "Traceback" not in said and "disk" not in said
