"""Which input goes to which output: files, folders of them, standard input and output."""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtsep.audio_io.job import STANDARD, Job
from rtsep.audio_io.sink import OUTPUTS
from rtsep.errors import InputError

DENOISED, KARAOKE = "denoised", "karaoke"  # what an output is marked with: NAME.denoised.EXT
TEMPLATE = "{name}.{mark}{ext}"
_FIELDS = ("name", "ext", "mark")
# What is taken out of a folder: whatever libsndfile or ffmpeg reads. A file named by itself may have any suffix.
_BY_LIBSNDFILE = (
    *(*OUTPUTS, ".mp3", ".wave", ".bwf", ".bw64", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".sd2", ".voc", ".iff", ".svx", ".8svx", ".paf", ".sf", ".sph", ".nist", ".avr", ".xi", ".mp1", ".mp2"),
)
_BY_FFMPEG = (
    *(".aac", ".ac3", ".adts", ".amr", ".ape", ".awb", ".dsf", ".dts", ".eac3", ".gsm", ".m4a", ".m4b", ".m4r", ".mka"),
    *(".mpa", ".mpc", ".mpga", ".ra", ".spx", ".tak", ".tta", ".weba", ".wma", ".wv"),
    *(".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".mxf", ".ogv", ".ogx", ".rm", ".ts", ".vob", ".webm", ".wmv"),
)
SUFFIXES = frozenset(_BY_LIBSNDFILE + _BY_FFMPEG)


@dataclass(frozen=True)
class _Found:
    """A file to read, and the folder it lies in, relative to the one that was named."""

    source: str
    inside: Path = Path()
    problem: str | None = None


def plan(
    inputs: Sequence[str],
    output: str | None = None,
    mark: str = DENOISED,
    recursive: bool = False,
    template: str | None = None,
) -> list[Job]:
    """Pair every input with its output; a folder stands for the sound files in it.

    output: a file (one input only), a folder, "-" for standard output, or None for NAME.MARK.EXT beside the input.
    recursive: a folder stands for the files in its subfolders too; they keep their places under an output folder.
    template: the output's name instead of "{name}.{mark}{ext}".

    An input that cannot be used becomes a job with a problem. Raises InputError when the request as a whole makes no
    sense, or when there is nothing else to do.
    """
    template = TEMPLATE if template is None else checked_template(template)
    found = [one for entry in inputs for one in _expand(entry, mark, template, recursive)]
    if len(found) == 1 and found[0].problem is not None:
        raise InputError(found[0].problem)
    sources = [one for one in found if one.problem is None]
    if output == STANDARD or (output is None and [one.source for one in sources] == [STANDARD]):
        return [_to_standard_output(found)]
    if output == "":
        raise InputError("The name after -o is empty; name a file or a folder.")
    place = None if output is None else Path(output)
    if place is not None and output is not None and not place.is_dir():
        if output.endswith(("/", os.sep)):
            raise InputError(f"The folder {place} does not exist; create it first.")
        if len(found) != 1:
            raise InputError(f"{len(found)} inputs need a folder to go to, and {place} is none; create it first.")
        return [Job(found[0].source, place)]
    return [_job(one, place, mark, template) for one in found]


def _to_standard_output(found: Sequence[_Found]) -> Job:
    if len(found) != 1:
        raise InputError("Standard output takes one input; name a folder with -o for several.")
    if sys.stdout is None:
        raise InputError("Standard output is closed; name a file with -o.")
    if sys.stdout.isatty():
        raise InputError("Sound is not written to a terminal; redirect it to a file or name one with -o.")
    return Job(found[0].source, None)


def _job(one: _Found, place: Path | None, mark: str, template: str) -> Job:
    if one.problem is not None:
        return Job(one.source, None, one.problem)
    beside = _beside(one.source, mark, template)
    if place is None:
        return Job(one.source, beside)
    folder = place / one.inside
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return Job(one.source, None, f"{folder} cannot be made: {error.strerror or error}.")
    return Job(one.source, folder / beside.name)


def _beside(source: str, mark: str, template: str) -> Path:
    path = Path("standard-input.wav" if source == STANDARD else source)
    return path.parent / output_name(path.name, mark, template)


def output_name(name: str, mark: str, template: str) -> str:
    """What the output of a file of this name is called."""
    path = Path(name)
    own = path.suffix if path.suffix.lower() in OUTPUTS else ".flac"
    return template.format(name=path.stem, mark=mark, ext=own)


def checked_template(template: str) -> str:
    """``template``; raises InputError when it names no file, or knows other fields."""
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
        name = template.format(name="a", mark="b", ext=".wav") if fields <= set(_FIELDS) else ""
    except (ValueError, IndexError, KeyError, AttributeError):
        name, fields = "", set()
    if not name or Path(name).name != name or "name" not in fields:
        raise InputError(
            f"--name is {template!r}; it must hold {{name}}, may hold {{ext}} and {{mark}}, and is no path: "
            "{name}.clean{ext}."
        )
    return template


def _expand(entry: str, mark: str, template: str, recursive: bool) -> list[_Found]:
    if entry == STANDARD:
        if sys.stdin is None:
            return [_Found(entry, problem="Standard input is closed; name a file.")]
        if sys.stdin.isatty():
            return [_Found(entry, problem="Standard input is a terminal; redirect a WAV file to it, or name a file.")]
        return [_Found(entry)]
    if "\0" in entry:
        return [_Found(entry, problem="One of the names holds a zero byte; no file has such a name.")]
    if not entry:
        return [_Found(entry, problem="One of the names is empty; name a file or a folder.")]
    if not os.path.isdir(entry):
        return [_Found(entry)]
    found = list(_listed(Path(entry), recursive))
    made = {_beside(one.source, mark, template) for one in found if one.problem is None}
    # what an earlier run wrote is no input of the next one
    found = [one for one in found if one.problem or not _is_output(Path(one.source), mark, made)]
    if found:
        return found
    deeper = not recursive and any(one.problem is None for one in _listed(Path(entry), recursive=True))
    advice = "; those in its subfolders are taken with --recursive" if deeper else ""
    return [_Found(entry, problem=f"There is no sound file in the folder {entry}{advice}.")]


def _is_output(path: Path, mark: str, made: set[Path]) -> bool:
    return path.stem.endswith(f".{mark}") or path in made


def _listed(folder: Path, recursive: bool) -> Iterator[_Found]:
    """The sound files in a folder, in order, and what stands in the way; links to folders are not followed."""
    problems: list[OSError] = []
    for place, subfolders, names in os.walk(folder, onerror=problems.append):
        subfolders[:] = sorted(name for name in subfolders if recursive and not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield _Found(str(path), path.parent.relative_to(folder))
    for error in problems:
        where = str(error.filename or folder)
        yield _Found(where, problem=f"{where} cannot be read: {error.strerror or error}.")
