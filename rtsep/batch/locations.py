"""Items: which file goes where, on this machine's disks or on whatever fsspec knows (s3://, gs://, ...)."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rtsep.audio_io.plan import SUFFIXES, TEMPLATE, checked_template, output_name
from rtsep.errors import InputError, RtsepError


@dataclass(frozen=True)
class Item:
    """A file and its output: paths, or addresses with a protocol."""

    source: str
    target: str


def is_remote(location: str) -> bool:
    """Whether a location is an address with a protocol, and no path of this machine."""
    return "://" in location


def file_system(location: str) -> tuple[Any, str]:
    """fsspec's file system for a location, and the path in it.

    Raises InputError for an unknown protocol, RtsepError when what it needs is not installed.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(location)
    except ValueError as error:
        raise InputError(f"{location}: {str(error).rstrip('.')}.") from None
    except ImportError as error:
        raise RtsepError(f"{location}: {str(error).rstrip('.')}.") from None


def items(inputs: Sequence[str], output: str, mark: str, recursive: bool, template: str | None) -> list[Item]:
    """Every sound file that the inputs stand for, with its output in the folder ``output``; each once.

    mark, recursive, template: see rtsep.audio_io.plan.plan. Raises InputError when there is none, or when two would go
    to the same place.
    """
    template = TEMPLATE if template is None else checked_template(template)
    found: dict[str, Item] = {}
    for entry in inputs:
        for source, inside in _listed(entry, mark, recursive):
            name = output_name(posixpath.basename(source), mark, template)
            target = posixpath.join(output.rstrip("/") or "/", inside, name)
            other = found.setdefault(target, Item(source, target))
            if other.source != source:
                raise InputError(f"{source} would go to {target} like {other.source}; name their folders one by one.")
            if source == target:
                raise InputError(f"{source} would be its own output; choose another folder with -o.")
    return list(found.values())


def _listed(entry: str, mark: str, recursive: bool) -> Iterator[tuple[str, str]]:
    """The sound files that an entry stands for, in order, each with the folder that it lies in within the entry."""
    files, path = file_system(entry)
    back = files.unstrip_protocol if is_remote(entry) else str
    try:
        if not files.isdir(path):
            if not files.exists(path):
                raise InputError(f"{entry} does not exist.")
            yield back(path), ""
            return
        names = sorted(files.find(path, maxdepth=None if recursive else 1))
    except (OSError, PermissionError) as error:
        raise InputError(f"{entry} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    count = 0
    for name in names:
        inside = posixpath.relpath(name, path)
        stem, suffix = posixpath.splitext(posixpath.basename(name))
        hidden = any(part.startswith(".") for part in inside.split("/"))
        if suffix.lower() in SUFFIXES and not hidden and not stem.endswith(f".{mark}"):
            count += 1
            yield back(name), posixpath.dirname(inside)
    if not count:
        advice = "" if recursive else "; those in its subfolders are taken with --recursive"
        raise InputError(f"There is no sound file in the folder {entry}{advice}.")


def check_output(output: str) -> None:
    """Raises InputError for an output that is no folder on this machine, nor an address."""
    if is_remote(output):
        file_system(output)
    elif not os.path.isdir(output):
        raise InputError(f"-o is {output}; name a folder that exists, or an address such as s3://bucket/folder.")
