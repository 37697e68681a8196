"""The catalogue of public recordings, and its sources: files of git repositories and of Debian packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from training.data.manifest import AUDIO
from training.data.recording_checks import Limits

CATALOGUE = Path(__file__).with_name("catalogue.yaml")
KINDS = ("speech", "noise", "vocals", "instrumental", "room", "tune", "soundfont")
ARCHIVES = (".zip", ".pk3", ".pk4", ".wz")  # looked into
SOUNDS = AUDIO | {".oga", ".m4a", ".aif", ".aiff", ".g722", ".aac", ".wma", ".webm"}


@dataclass(frozen=True)
class Part:
    """Files of one kind in a source. `cap` and `each` in minutes: of the part, and of each speaker or label.

    `speaker`, `label` and `language` are a fixed word, or `re:` and an expression whose groups are read off the path.
    `valid` is the share of speakers (of noise: of files) that hashing puts into the valid split.
    """

    kind: str
    files: tuple[str, ...]
    without: tuple[str, ...] = ()
    speaker: str = ""
    label: str = ""
    language: str = ""
    licence: str = ""
    cap: float = 1e9
    each: float = 1e9
    valid: float = 0.05
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Source:
    """A public git repository at a commit, or a Debian package at a version; `stated` is where the licence stands."""

    name: str
    licence: str
    stated: str
    parts: tuple[Part, ...]
    git: str = ""
    commit: str = ""
    debian: str = ""
    version: str = ""

    @property
    def origin(self) -> str:
        """How the manifest names it."""
        if self.debian:
            return f"debian:{self.debian}={self.version}"
        return f"{'git' if '://' in self.git else 'github'}:{self.git}@{self.commit}"


@dataclass(frozen=True)
class Catalogue:
    """All sources, and globs (`source:path`, lower case) of what is held back and never opened."""

    sources: tuple[Source, ...]
    held_back: tuple[str, ...]

    def holds_back(self, source: Source, path: str = "") -> bool:
        """Whether a file, or without `path` the whole source, is kept for judging."""
        name = f"{source.git or source.debian}:{path}".lower()
        return any(fnmatchcase(name, pattern.lower()) for pattern in self.held_back)


class SourceUnavailable(Exception):
    """A source cannot be had; the message is one sentence."""


def read_catalogue(file: Path = CATALOGUE) -> Catalogue:
    """The catalogue in `file`; raises ValueError with one sentence for what is wrong in it."""
    import yaml

    try:
        text = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(text, dict) or not isinstance(text.get("sources"), list):
        raise ValueError(f"{file} is no catalogue: it needs a list `sources`.")
    sources = tuple(_source(entry) for entry in text["sources"])
    names = [source.name for source in sources]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"The catalogue names {', '.join(double)} twice.")
    catalogue = Catalogue(sources, tuple(text.get("held_back", ())))
    for source in sources:
        if catalogue.holds_back(source):
            raise ValueError(f"{source.name} is held back for judging and may not be collected.")
    return catalogue


def _source(entry: Any) -> Source:
    if not isinstance(entry, dict) or "name" not in entry:
        raise ValueError("A source of the catalogue has no name.")
    name, given = entry["name"], dict(entry)
    parts = tuple(_part(name, part) for part in given.pop("parts", ()))
    source = _made(Source, name, {**{key: str(value) for key, value in given.items()}, "parts": parts})
    if bool(source.git) == bool(source.debian) or not (source.commit or source.version):
        raise ValueError(f"{name}: give git and commit, or debian and version.")
    if not parts or not source.licence or not source.stated:
        raise ValueError(f"{name}: parts, licence and stated must not be empty.")
    return source


def _part(name: str, entry: dict[str, Any]) -> Part:
    given = dict(entry)
    for key in ("files", "without"):
        given[key] = (given[key],) if isinstance(given.get(key), str) else tuple(given.get(key, ()))
    given["limits"] = _made(Limits, name, given.get("limits", {}))
    part = _made(Part, name, given)
    if part.kind not in KINDS or not part.files:
        raise ValueError(f"{name}: kind must be one of {', '.join(KINDS)}, and files must not be empty.")
    if part.kind in ("speech", "vocals") and not part.speaker:
        raise ValueError(f"{name}: a part of {part.kind} needs a speaker.")
    return part


def _made(cls: Callable[..., Any], name: str, given: dict[str, Any]) -> Any:
    unknown = set(given) - {known.name for known in fields(cls)}  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"{name}: the catalogue knows no {', '.join(sorted(unknown))}.")
    try:
        return cls(**given)
    except TypeError as error:
        raise ValueError(f"{name}: {error}.") from None


def label_from_path(rule: str, path: str) -> str:
    """What a rule of the catalogue says of a path: its fixed word, or the groups of its expression joined by `-`."""
    if not rule.startswith("re:"):
        return rule
    match = re.search(rule[3:], path)
    return "-".join(group for group in match.groups() if group) if match else ""


def matches(path: str, part: Part) -> bool:
    """Whether a path is one of a part's files."""
    wanted = any(fnmatchcase(path, pattern) for pattern in part.files)
    return wanted and not any(fnmatchcase(path, pattern) for pattern in part.without)


@contextmanager
def opened(source: Source, repos: Path | None) -> Iterator[tuple[list[str], Callable[[list[str]], Iterator[bytes]]]]:
    """The paths in a source, by name, and what reads the content of some of them, in their order.

    Raises SourceUnavailable with one sentence if it cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="collect-") as place:
        if source.git:
            clone = _clone(source, repos, Path(place))
            names = _run(["git", "-C", str(clone), "ls-tree", "-r", "-z", "--name-only", source.commit], source)
            paths = [name.decode("utf-8", "surrogateescape") for name in names.split(b"\0") if name]
            yield sorted(paths), lambda chosen: _blobs(clone, source.commit, chosen)
        else:
            folder = Path(place, "unpacked")
            _run(["dpkg-deb", "-x", str(_package(source, repos, Path(place))), str(folder)], source)
            for archive in [path for path in folder.rglob("*") if path.suffix in ARCHIVES and path.is_file()]:
                with zipfile.ZipFile(archive) as members:
                    sounds = [name for name in members.namelist() if Path(name).suffix.lower() in SOUNDS]
                    members.extractall(archive.with_suffix(""), sounds)
                archive.unlink()
            found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            names_in = sorted(path.relative_to(folder).as_posix() for path in found)
            yield names_in, lambda chosen: (Path(folder, name).read_bytes() for name in chosen)


def _clone(source: Source, repos: Path | None, place: Path) -> Path:
    """A git directory that has the commit: one below `repos`, or else fetched now."""
    plain = source.git.removesuffix(".git").rstrip("/")
    owner, name = ([*plain.split("/")[-2:], ""] if "/" in plain else ["", plain, ""])[:2]
    layouts = (f"{owner}+{name}/repo", f"{owner}+{name}", f"{owner}/{name}", name, f"{name}.git")
    near = [Path(repos, layout) for layout in layouts] if repos else []
    for folder in (path for each in near for path in (each, each / ".git")):
        if (folder / "HEAD").is_file() and _has(folder, source.commit):
            return folder
    url = source.git if "://" in source.git else f"https://github.com/{plain}"
    folder = place / "clone"
    _run(["git", "init", "-q", "--bare", str(folder)], source)
    _run(["git", "-C", str(folder), "fetch", "-q", "--depth", "1", url, source.commit], source)
    return folder


def _has(folder: Path, commit: str) -> bool:
    words = ["git", "-C", str(folder), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(words, capture_output=True).returncode == 0


def _package(source: Source, repos: Path | None, place: Path) -> Path:
    """The .deb of the version: one in `repos`, or else downloaded now."""
    for file in sorted(repos.glob(f"{source.debian}_*.deb")) if repos else []:
        if _run(["dpkg-deb", "-f", str(file), "Version"], source).decode().strip() == source.version:
            return file
    _run(["apt-get", "download", "-qq", f"{source.debian}={source.version}"], source, place)
    return next(place.glob("*.deb"))


def _blobs(clone: Path, commit: str, paths: list[str]) -> Iterator[bytes]:
    """Contents by one `git cat-file`; nothing for what the clone lacks."""
    words = ["git", "-C", str(clone), "-c", "core.quotePath=false", "cat-file", "--batch"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as talk:
        assert talk.stdin and talk.stdout
        for path in paths:
            talk.stdin.write(f"{commit}:{path}\n".encode("utf-8", "surrogateescape"))
            talk.stdin.flush()
            head = talk.stdout.readline().split()
            if len(head) == 3 and head[1] == b"blob" and head[2].isdigit():
                yield talk.stdout.read(int(head[2]) + 1)[:-1]
            else:
                yield b""
        talk.stdin.close()


def _run(words: list[str], source: Source, folder: Path | None = None) -> bytes:
    if shutil.which(words[0]) is None:
        raise SourceUnavailable(f"{source.name} is skipped: {words[0]} is missing.")
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    done = subprocess.run(words, cwd=folder, capture_output=True, env=environment)
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
        raise SourceUnavailable(
            f"{source.name} is skipped: {words[0]} says {reason.removeprefix('fatal: ').rstrip('.')}."
        )
    return done.stdout
