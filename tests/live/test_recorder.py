"""Recordings: all that was heard and played, whatever else is there, and as far as the disk goes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from test_live_callback import Rig

from rtsep.audio_io.part_file import why_unwritten
from rtsep.errors import InputError
from rtsep.live.recorder import Recorder

SOUND = (0.1 * np.random.default_rng(0).standard_normal(128 * 50)).astype(np.float32)


def engine(rig: Rig) -> Any:
    """What a recorder sees of one."""
    return SimpleNamespace(block=rig.block)


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def near(one: np.ndarray, other: np.ndarray) -> bool:
    """But for the 24 bits of the files."""
    return one.shape == other.shape and float(np.abs(one - other).max()) < 2e-7


def test_a_recording_holds_what_was_heard_and_played(tmp_path: Path) -> None:
    rig = Rig(128)
    recorder = Recorder(engine(rig), tmp_path / "new")
    played = []
    for k in range(50):
        played.append(rig.call(SOUND[k * 128 :][:128]))
        recorder.pull()
    recorder.close()
    ((heard_path, played_path),) = recorder.paths
    assert near(read(heard_path), SOUND) and near(read(played_path), np.concatenate(played))
    assert recorder.missed == 0
    with pytest.raises(InputError, match="another folder"):
        Recorder(engine(rig), "/proc/nowhere")
    rig.close()


def test_recordings_of_one_second_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "rtsep-20261128-120000")
    rig, lengths = Rig(128), []
    for count in (10, 3, 5):
        recorder = Recorder(engine(rig), tmp_path)
        for k in range(count):
            rig.call(SOUND[k * 128 :][:128])
        recorder.close()
        lengths += [soundfile.info(path).frames for pair in recorder.paths for path in pair]
    rig.close()
    assert lengths == [1280, 1280, 384, 384, 640, 640] and len(list(tmp_path.iterdir())) == 6
    assert (tmp_path / "rtsep-20261128-120000-3-output.wav").exists()


def test_a_recording_too_long_for_one_file_goes_on_in_another(tmp_path: Path) -> None:
    rig = Rig(128)
    recorder = Recorder(engine(rig), tmp_path, max_bytes=3 * 1000)
    for k in range(25):
        rig.call(SOUND[k * 128 :][:128])
        recorder.pull()
    recorder.close()
    rig.close()
    parts = [read(heard) for heard, _ in recorder.paths]
    assert [len(part) for part in parts] == [1000, 1000, 1000, 200]
    assert near(np.concatenate(parts), SOUND[: 25 * 128]) and "3 more" in recorder.summary


def test_another_rate_is_another_file(tmp_path: Path) -> None:
    rig = Rig(128)
    recorder = Recorder(engine(rig), tmp_path)
    rig.call(SOUND[:128])
    recorder.pull()
    rig.block.configure(44100, 128, 256)
    for k in (1, 2):
        rig.call(SOUND[k * 128 :][:128])
        recorder.pull()
    recorder.close()
    rig.close()
    (first, _), (second, _) = recorder.paths
    assert (soundfile.info(first).samplerate, soundfile.info(first).frames) == (48000, 128)
    assert (soundfile.info(second).samplerate, soundfile.info(second).frames) == (44100, 256)
    assert near(read(second), SOUND[128:384])


FULL_DISK = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from types import SimpleNamespace
from rtsep.errors import RtsepError
from rtsep.live.recorder import Recorder
from rtsep.live.backends.shared_state import SharedBlock

block = SharedBlock.create(1, 1 << 17)
block.configure(48000, 128, 256)
block.heard[:] = block.played[:] = 0.25
recorder = Recorder(SimpleNamespace(block=block), sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    for _ in range(10):
        block.state.position += 9000
        recorder.pull()
except RtsepError as error:
    print(error, recorder.summary)
    recorder.close()
"""


def test_no_more_room_ends_the_recording_with_a_sentence_and_keeps_what_there_is(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE >= 0
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "could not be written (disk, quota or file size limit reached)" in done.stdout
    for path in tmp_path.iterdir():
        kept = read(path)
        assert 9000 <= len(kept) <= 20000 and (kept == 0.25).all()


def test_why_a_file_could_not_be_written_whole(tmp_path: Path) -> None:
    assert why_unwritten(tmp_path) == "disk, quota or file size limit reached"
    assert why_unwritten(tmp_path / "pulled out") == "its folder is gone"
