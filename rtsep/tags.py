"""Tags of a sound file (title, artist, cover, ...), carried from one file to another.

The ten tags libsndfile knows are carried by `rtsep.files`; all others need mutagen, which is optional
(``pip install rtsep[tags]``) because its licence is the GPL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Loudness of the old sound: wrong for the new one.
_LOUDNESS = ("replaygain_", "r128_")


def copy_tags(source: Path, target: Path) -> bool:
    """Give ``target`` (WAV, FLAC or Ogg) the tags and cover of ``source``.

    Returns whether tags were written: False without mutagen, without tags, or when they cannot be read. Tags are
    never a reason to lose the sound, so only a failure to write ``target`` raises (OSError).
    """
    try:
        import mutagen
    except ImportError:
        return False
    try:
        old, new = mutagen.File(source), mutagen.File(target)
    except mutagen.MutagenError:
        return False
    if old is None or new is None or not (old.tags or getattr(old, "pictures", None)):
        return False
    kind = type(new).__name__
    if kind == "WAVE" and type(old).__name__ != "WAVE":
        return False  # a WAV keeps the tags of other formats in its INFO list, which libsndfile has written
    try:
        if kind == "WAVE":
            old.tags.save(target)
            return True
        if new.tags is None:
            new.add_tags()
        new.tags.clear()
        new.tags.extend(_comments(source, old))
        _set_pictures(new, _pictures(old))
        new.save()
    except mutagen.MutagenError as error:
        raise OSError(f"the tags could not be written: {error}") from None
    return True


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
    """Covers of a FLAC, Ogg or MP3 file as FLAC pictures."""
    import base64

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
        pictures = [Picture(base64.b64decode(text)) for text in old.tags.get("metadata_block_picture", [])]
    return pictures


def _set_pictures(new: Any, pictures: list[Any]) -> None:
    import base64

    if hasattr(new, "add_picture"):
        new.clear_pictures()
        for picture in pictures:
            new.add_picture(picture)
    elif pictures:
        new.tags["metadata_block_picture"] = [base64.b64encode(picture.write()).decode() for picture in pictures]
