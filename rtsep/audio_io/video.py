"""The sound of a video (or of any file libsndfile cannot read), by way of ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from rtsep.errors import InputError, RtsepError

_POLL = 0.1  # seconds between two looks at whether the user wants to stop
# What ffmpeg says about a file that lost its end, while leaving with exit code 0.
_CUT = ("partial file", "ended prematurely")


def ffmpeg() -> str | None:
    """Path of the ffmpeg program, None where there is none."""
    return shutil.which("ffmpeg")


def extract_sound(path: Path, target: Path, check: Callable[[], None] | None = None, aligned: bool = False) -> None:
    """Write the first sound track of ``path`` to ``target`` as 24-bit FLAC, rate, channels and tags kept.

    aligned: give a track that begins after the picture its silence, so that it can be put back where it was.
    check: called ten times a second; what it raises stops ffmpeg and goes on to the caller.

    Raises InputError when ffmpeg is missing, finds no sound or the file is damaged; RtsepError when it cannot write.
    """
    program = ffmpeg()
    if program is None:
        raise InputError(f"{path} can only be read with ffmpeg, which is not installed; install it, or convert to WAV.")
    command = [program, "-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file", "-i", f"file:{path.absolute()}"]
    if aligned:
        command += ["-af", "aresample=async=1:first_pts=0"]
    command += ["-map", "0:a:0", "-c:a", "flac", "-sample_fmt", "s32", "-f", "flac", f"file:{target.absolute()}"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        try:
            while True:
                try:
                    code = process.wait(_POLL)
                    break
                except subprocess.TimeoutExpired:
                    if check is not None:
                        check()
        except BaseException:
            process.kill()
            process.wait()
            raise
        log.seek(0)
        said = log.read(100_000).decode(errors="replace")
    if "No space left on device" in said or "File too large" in said:
        raise RtsepError(f"There is no room for the sound of {path} in {target.parent}; free some space.")
    if "matches no streams" in said or "does not contain any stream" in said:
        raise InputError(f"{path} holds no sound.")
    if any(words in said for words in _CUT):
        raise InputError(f"{path} ends before its sound does; it is a broken copy or download, so fetch it again.")
    if code:
        raise InputError(f"{path} is not a sound or video file that can be read.")
