"""Tags of a sound file (title, artist, cover, ...), carried from one file to another.

The ten tags libsndfile knows are carried by `rtsep.audio_io.files`; all others need mutagen, which is optional
(``pip install rtsep[tags]``) because its licence is the GPL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Loudness of the old sound: wrong for the new one.
_LOUDNESS = ("replaygain_", "r128_")


def copy_tags(source: Path, target: Path) -> bool:
    """Give ``target`` (WAV, FLAC or Ogg) the tags and cover of ``source``.

    Returns whether tags were written: False without mutagen, without tags, or when they cannot be read or written.
    Tags are never a reason to lose the sound, so only what may have harmed ``target`` raises (OSError): a full disk,
    or a failure in the middle of writing.
    """
    try:
        import mutagen
    except ImportError:
        return False
    try:
        if _is_plain_wav(source):
            return False
        old = mutagen.File(source)
        if old is None or not (old.tags or getattr(old, "pictures", None)):
            return False
        new = mutagen.File(target)
        if new is None:
            return False
        kind = type(new).__name__
        if kind == "WAVE" and type(old).__name__ != "WAVE":
            return False  # a WAV keeps the tags of other formats in its INFO list, which libsndfile has written
        comments, pictures = ([], []) if kind == "WAVE" else (_comments(source, old), _pictures(old))
    except Exception:  # tags come from anywhere, and mutagen trips over broken ones in many ways
        return False
    before = _state(target)
    try:
        if kind == "WAVE":
            old.tags.save(target)
            return True
        if new.tags is None:
            new.add_tags()
        new.tags.clear()
        new.tags.extend(comments)
        _set_pictures(new, pictures)
        new.save()
    except Exception as error:
        from_disk = isinstance(error, OSError) or any(isinstance(cause, OSError) for cause in error.args)
        if from_disk or _state(target) != before:
            raise OSError(f"the tags could not be written: {error}") from None
        return False
    return True


def _is_plain_wav(path: Path) -> bool:
    """Whether a file is a WAV without ID3 tags, which is known far sooner than mutagen knows it: most files are."""
    from rtsep.audio_io.wav_chunks import chunk_names

    names = chunk_names(path)
    return names is not None and not any(name.lower() == b"id3 " for name in names)


def _state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change: the same as before when nothing was written."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _comments(source: Path, old: Any) -> list[tuple[str, str]]:
    """All tags as Vorbis comments: (name, value) pairs, a name as often as it has values."""
    from mutagen import File

    if isinstance(old.tags, list):  # Vorbis comments already
        pairs = list(old.tags)
    else:
        easy = File(source, easy=True)
        tags = easy.tags if easy is not None and type(easy) is not type(old) else None
        pairs = [(name, str(value)) for name, values in (tags or {}).items() for value in values]
    return [(name, value) for name, value in pairs if not name.lower().startswith((*_LOUDNESS, "metadata_block"))]


def _pictures(old: Any) -> list[Any]:
    """Covers of a FLAC, Ogg or MP3 file as FLAC pictures, without those that are broken."""
    import base64
    import contextlib

    from mutagen import MutagenError
    from mutagen.flac import Picture

    if hasattr(old, "pictures"):
        return list(old.pictures)
    pictures = []
    if hasattr(old.tags, "getall"):  # ID3
        for frame in old.tags.getall("APIC"):
            picture = Picture()
            picture.data, picture.mime, picture.type, picture.desc = frame.data, frame.mime, frame.type, frame.desc
            pictures.append(picture)
    else:
        for text in old.tags.get("metadata_block_picture", []):
            with contextlib.suppress(ValueError, MutagenError):  # no base64, no picture
                pictures.append(Picture(base64.b64decode(text)))
    return pictures


def _set_pictures(new: Any, pictures: list[Any]) -> None:
    import base64

    if hasattr(new, "add_picture"):
        new.clear_pictures()
        for picture in pictures:
            new.add_picture(picture)
    elif pictures:
        new.tags["metadata_block_picture"] = [base64.b64encode(picture.write()).decode() for picture in pictures]
