"""Banks that no run has used for long make room when a new one is written, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from tests.training.program import HOME
from training.data.bank_files import LOCK, UNUSED_DAYS
from training.data.clip_store import Bank, build_banks
from training.data.rows import scan_folder

BUILDS = """
import sys
from pathlib import Path
from training.data import clip_store
from training.data.rows import scan_folder
decoded, decode = [], clip_store.decode
clip_store.decode = lambda row: decoded.append(row) or decode(row)
print("begins", flush=True)
clip_store.build_banks(scan_folder(Path(sys.argv[1]), "speech"), {}, 1.0, Path(sys.argv[2]))
print("decoded", len(decoded))
"""
IN_USE = """
import sys
from pathlib import Path
from training.data.bank_files import mapped
samples = mapped(Path(sys.argv[1]))
print(len(samples), flush=True)
sys.stdin.read()
"""


def bank(folder: Path, name: str) -> tuple[Bank, Path]:
    """Of a recording of its own, in the folder's cache, and its file there."""
    recordings, cache = folder / name, folder / "cache"
    before = set(cache.glob("*.int16"))
    if not recordings.exists():
        recordings.mkdir()
        soundfile.write(recordings / "a.wav", np.full(16000, 0.1), 16000)
    (made,) = build_banks(scan_folder(recordings, "speech"), {}, 1.0, cache).values()
    return made, next(iter(set(cache.glob("*.int16")) - before), Path())


def grow_old(path: Path, days: float = UNUSED_DAYS + 1) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_an_unused_bank_makes_room_for_a_new_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    first, second = (bank(tmp_path, name)[1] for name in ("first", "second"))
    grow_old(first)
    grow_old(second, UNUSED_DAYS - 1)
    begun = cache / ".bank-killed"
    begun.mkdir()
    (begun / "sound").write_bytes(bytes(1000))
    grow_old(begun)
    assert capsys.readouterr().err == ""
    third = bank(tmp_path, "third")[1]
    left = {path for sound in (second, third) for path in (sound, sound.with_suffix(".lengths.npy"))}
    assert set(cache.iterdir()) - {cache / LOCK} == left
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(f"0.0 GB of decoded recordings, unused for {UNUSED_DAYS} days, made room in ")
    made, again = bank(tmp_path, "first")
    assert again == first and (made.samples == 3276).all()


def test_who_uses_a_bank_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Opened again it is young; and one that another process has mapped stays as long as that does, however old."""
    first = bank(tmp_path, "first")[1]
    grow_old(first)
    bank(tmp_path, "first")
    assert time.time() - first.stat().st_mtime < 60
    with subprocess.Popen(
        [sys.executable, "-c", IN_USE, first], cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "16000\n"
        grow_old(first)
        bank(tmp_path, "second")
        assert first.exists() and capsys.readouterr().err == ""
        other.communicate()
    bank(tmp_path, "third")
    assert not first.exists() and "made room" in capsys.readouterr().err


def test_a_copy_of_the_same_recordings_is_not_decoded_again(tmp_path: Path) -> None:
    """A checkout or a restored backup has other times; what is recorded anew has other sound, at the same length."""
    first = bank(tmp_path, "first")[1]
    recording = tmp_path / "first" / "a.wav"
    grow_old(recording)
    assert bank(tmp_path, "first")[1] == Path()
    times = recording.stat()
    soundfile.write(recording, np.full(16000, 0.2), 16000)
    os.utime(recording, ns=(times.st_atime_ns, times.st_mtime_ns))
    made, second = bank(tmp_path, "first")
    assert second not in (first, Path()) and (made.samples == 6553).all()


def test_of_processes_that_begin_together_one_decodes(tmp_path: Path) -> None:
    """The others wait, and map what it wrote."""
    bank(tmp_path, "first")
    recordings, cache = tmp_path / "second", tmp_path / "cache"
    recordings.mkdir()
    soundfile.write(recordings / "a.wav", np.full(16000, 0.1), 16000)
    with FileLock(cache / LOCK):
        others = [
            subprocess.Popen(
                [sys.executable, "-c", BUILDS, recordings, cache], cwd=HOME, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        assert [other.stdout and other.stdout.readline() for other in others] == ["begins\n"] * 2
        with pytest.raises(subprocess.TimeoutExpired):
            others[0].wait(0.5)
    assert sorted(other.communicate(timeout=120)[0] for other in others) == ["decoded 0\n", "decoded 1\n"]
