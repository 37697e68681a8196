"""By way of ffmpeg: the sound of a video (or of any file libsndfile cannot read), and new sound beside its picture."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rtsep.audio_io.headers import Extent, extent
from rtsep.audio_io.part_file import DISK_FULL
from rtsep.audio_io.patched_file import openable
from rtsep.errors import InputError, RtsepError

_POLL = 0.1  # seconds between two looks at whether the user wants to stop
# What ffmpeg says about a file that lost its end, while leaving with exit code 0.
_CUT = ("partial file", "ended prematurely")
_NO_ROOM = ("No space left on device", "File too large", "Disk quota exceeded")
# A file from elsewhere may be a playlist: it must not make ffmpeg fetch anything.
_LOCAL = ("-protocol_whitelist", "file,subfile")
# Codec of the sound by suffix, AAC for all others; 128 kbit/s a channel where the codec takes a rate.
_CODECS = {
    ".mp3": ("libmp3lame", "-q:a", "0"),
    ".avi": ("pcm_s16le",),  # MP3 there comes late by its delay
    ".webm": ("libopus", "-b:a", "{rate}"),
    ".mkv": ("flac",),
}
_AAC = ("aac", "-b:a", "{rate}")
_FORMATS = {".m4a": "ipod", ".m4v": "mp4", ".mkv": "matroska"}  # where ffmpeg's name is not the suffix


def ffmpeg() -> str | None:
    """Path of the ffmpeg program, None where there is none."""
    return shutil.which("ffmpeg")


def extract_sound(
    path: Path,
    target: Path,
    check: Callable[[], None] | None = None,
    part: tuple[int, int] | None = None,
    form: tuple[int, int] | None = None,
) -> bool:
    """Write the first sound track of ``path`` to ``target`` as 24-bit FLAC, rate, channels and tags kept.

    What ``path`` is, ffmpeg finds out from its content. A track that begins after the picture is given its silence,
    so that it can be put back where it was.
    check: called ten times a second; what it raises stops ffmpeg and goes on to the caller.
    part: offsets in bytes, begin and end, of what is to be read; all of ``path`` without.
    form: rate in Hz and channels to convert to.

    Returns whether the sound is whole. Raises InputError when ffmpeg is missing or finds no sound; RtsepError when it
    cannot write.
    """
    if ffmpeg() is None:
        raise InputError(f"{path} can only be read with ffmpeg, which is not installed; install it, or convert to WAV.")
    code, said = _run(
        *(*_LOCAL, "-i", _url(path, part), "-map", "0:a:0", *_late(path)),
        *(() if form is None else ("-ar", str(form[0]), "-ac", str(form[1]))),
        *("-c:a", "flac", "-sample_fmt", "s32", "-f", "flac", _url(target)),
        check=check,
    )
    if any(words in said for words in _NO_ROOM):
        raise RtsepError(f"There is no room for the sound of {path} in {target.parent}; free some space.")
    if "matches no streams" in said or "does not contain any stream" in said:
        raise InputError(f"{path} holds no sound.")
    if code < 0:
        raise RtsepError(f"ffmpeg was stopped (signal {-code}) while it read {path}; free some space and memory.")
    cut = any(words in said for words in _CUT)
    if (code and not cut) or not target.exists() or not target.stat().st_size:
        raise InputError(f"{path} is not a sound or video file that can be read.")
    return not cut


def put_sound(sound: Path, source: Path, made: Path, target: Path, check: Callable[[], None] | None = None) -> None:
    """Write ``sound`` to ``made`` as ``target``'s suffix wants it, beside everything of ``source`` but its first track.

    Picture, subtitles, further tracks, chapters and tags are copied untouched. ``target`` is only named in messages.
    Raises InputError when ``target`` cannot hold them, RtsepError when ffmpeg is missing or cannot write.
    """
    import soundfile

    if ffmpeg() is None:
        raise InputError(f"{target} can only be written with ffmpeg, which is not installed; choose .wav or .flac.")
    suffix = made.suffix.lower()
    with soundfile.SoundFile(openable(sound)) as clean:
        rate = f"{min(512, 128 * clean.channels)}k"
    codec = [word.format(rate=rate) for word in _CODECS.get(suffix, _AAC)]
    pictures = ["-map", "0:v?"]
    further = ["-map", "0:a?", "-map", "-0:a:0?"]
    if suffix in (".mp3", ".m4a"):
        pictures, further = ["-map", "0:v?", "-map", "-0:V?"], []  # covers only
    elif suffix != ".avi":
        further += ["-map", "0:s?"]
    code, said = _run(
        *(*_LOCAL, "-i", _url(source), *_LOCAL, "-i", _url(sound), *pictures, "-map", "1:a:0", *further),
        *("-map_metadata", "0", "-map_chapters", "0", "-c", "copy", "-c:a:0", *codec),
        *("-disposition:a:0", "default", "-f", _FORMATS.get(suffix, suffix[1:]), _url(made)),
        check=check,
    )
    if any(words in said for words in _NO_ROOM):
        raise RtsepError(f"{target} could not be written: {DISK_FULL}; free some space and run it again.")
    if "Unknown encoder" in said:
        raise InputError(f"This ffmpeg has no encoder {codec[0]}, which {target} needs; choose .flac.")
    if code:
        raise InputError(
            f"{target}: ffmpeg cannot put the sound, and what stands beside it in {source}, into one {suffix}; "
            "choose the suffix of the input, or .flac."
        )


def _late(path: Path) -> Sequence[str]:
    """Filter for a file with a picture; a plain sound file begins where it begins."""
    if extent(path) is Extent.UNKNOWN or path.suffix.lower() in (".mp3", ".flac", ".wav", ".ogg", ".opus"):
        return ()
    return ("-af", "aresample=async=1:first_pts=0")


def _url(path: Path, part: tuple[int, int] | None = None) -> str:
    url = f"file:{path.absolute()}"
    return url if part is None else f"subfile,,start,{part[0]},end,{part[1]},,:{url}"


def _run(*words: str, check: Callable[[], None] | None) -> tuple[int, str]:
    """Run ffmpeg; its exit code and what it said about errors."""
    command = [ffmpeg() or "ffmpeg", "-nostdin", "-v", "error", "-y", *words]
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
        return code, log.read(100_000).decode(errors="replace")
