"""What is handed out: source distribution, wheel, manual page, completion, desktop entry, container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer.main

import rtsep
from rtsep.cli import app
from rtsep.cli.man_page import man_page
from tests.live import servers
from tests.recordings import NOISY

HOME = Path(__file__).parents[1]
SHARE = HOME / "share"
MOST_BYTES = 25_000_000
ENTRY = SHARE / "applications" / "rtsep-panel.desktop"


def run(*words: object, **options) -> subprocess.CompletedProcess[str]:
    """In a process that knows nothing of the checkout."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    options.setdefault("env", own)
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def uv(*words: object) -> str:
    return run(sys.executable, "-m", "uv", *words).stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with source distribution, and the wheel made of that; and what was said meanwhile.

    Built of a copy, so that nothing that lies about in the checkout gets in, and none of it is needed.
    """
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    for name in ("rtsep", "share", "docs", "examples"):
        shutil.copytree(HOME / name, source / name, ignore=unwanted)
    for name in (HOME / "MANIFEST.in").read_text("utf-8").split("include ")[1].splitlines()[0].split():
        shutil.copy(HOME / name, source)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(HOME / name, source)
    return folder / "dist", uv("build", "--out-dir", folder / "dist", source)


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, str]) -> Path:
    (found,) = built[0].glob("*.whl")
    return found


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel, and what it asks for, in it."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    uv("venv", "--python", sys.executable, environment)
    uv("pip", "install", "--python", environment, wheel)
    return environment


def test_both_are_built_without_a_warning_and_are_small(built: tuple[Path, str]) -> None:
    folder, said = built
    names = sorted(file.name for file in folder.iterdir() if file.name != ".gitignore")
    version = rtsep.__version__
    assert names == [f"rtsep-{version}-py3-none-any.whl", f"rtsep-{version}.tar.gz"]
    assert all((folder / name).stat().st_size < MOST_BYTES for name in names)
    warnings = [line for line in said.splitlines() if re.search("warn|deprecat", line, re.IGNORECASE)]
    assert not [line for line in warnings if "byte-compiling" not in line], said  # which uv has turned off


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Built by way of the source distribution: what that lacks is missing here too."""
    tracked = run("git", "ls-files", "rtsep", cwd=HOME).stdout.split() if (HOME / ".git").exists() else []
    found = tracked or [str(path.relative_to(HOME)) for path in (HOME / "rtsep").rglob("*.onnx")]
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert len(found) > 2 and set(found) - packed == set()


def test_the_wheel_works_without_the_checkout(place: Path, tmp_path: Path) -> None:
    program = place / "bin" / "rtsep"
    # By onnxruntime, as the compiled backend takes half a minute to fill a cache that is empty.
    clean = "import numpy, rtsep, soundfile, sys; sound, rate = soundfile.read(sys.argv[1], dtype='float32'); "
    clean += "numpy.save('clean.npy', rtsep.enhance(sound, rate, rtsep.load('denoise-small')))"
    run(place / "bin" / "python", "-c", clean, NOISY, cwd=tmp_path)
    sound, rate = soundfile.read(NOISY, dtype="float32")
    expected = rtsep.enhance(sound, rate, rtsep.load("denoise-small"))
    assert np.array_equal(np.load(tmp_path / "clean.npy"), expected)
    asked = "import rtsep.model as model; print(model.__file__, *model.shipped())"
    where, *models = run(place / "bin" / "python", "-c", asked, cwd=tmp_path).stdout.split()
    assert models == ["denoise-ahead", "denoise-small", "denoise", "karaoke"]
    assert where.startswith(str(place))
    assert run(program, "--version").stdout == f"rtsep {rtsep.__version__}\n"


def test_manual_desktop_entry_and_icon_are_installed(place: Path) -> None:
    for file in (SHARE / "man/man1/rtsep.1", ENTRY, SHARE / "icons/hicolor/scalable/apps/rtsep.svg"):
        assert (place / "share" / file.relative_to(SHARE)).read_bytes() == file.read_bytes()


def test_the_manual_page_is_current() -> None:
    """`make man` writes it anew."""
    assert (SHARE / "man/man1/rtsep.1").read_text("utf-8") == man_page()


def test_the_manual_page_has_every_verb_and_option_and_is_well_formed() -> None:
    servers.install("groff-base", program="groff")
    shown = run("groff", "-man", "-Tascii", "-ww", "-P-cbou", input=man_page())
    assert shown.stderr == ""
    for verb, command in _verbs().items():
        assert re.search(rf"^ +rtsep +{verb} ", shown.stdout, re.MULTILINE), verb
        for parameter in command.params:
            names = parameter.opts if parameter.param_type_name == "option" else []
            assert all(re.search(rf"(?<![\w-]){name}\b", shown.stdout) for name in names), (verb, names)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["den"], "denoise"),
        (["bench", "st"], "step"),
        (["denoise", "--virt"], "--virtual-mic"),
        (["karaoke", "--gu"], "--guide"),
    ],
)
def test_bash_completes(words: list[str], expected: str, tmp_path: Path) -> None:
    """In a real bash, by the script that the program prints."""
    program = tmp_path / "rtsep"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{HOME}" exec "{sys.executable}" -m rtsep "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = run(program, "--show-completion", "bash", env=os.environ | {"PATH": path, "SHELL": "/bin/bash"}).stdout
    line = " ".join(f"'{word}'" for word in ["rtsep", *words])
    asked = (
        f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _rtsep_completion rtsep; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = run("bash", "--norc", "-c", script + asked, env=os.environ | {"PATH": path})
    assert done.stdout.split() == [expected] and done.stderr == ""


def test_the_container_is_told_what_the_program_understands() -> None:
    """It was not built; that the wheel comes of what its build sees, the wheel's tests show."""
    told = (HOME / "Dockerfile").read_text("utf-8")
    verb, *words = json.loads(re.findall(r"^CMD (.*)$", told, re.MULTILINE)[0])
    options = {name: parameter for parameter in _verbs()[verb].params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= set(options)
    assert re.findall(r"^EXPOSE (.*)$", told, re.MULTILINE) == [words[words.index("--port") + 1]]
    (extra,) = set(re.findall(r"\[(\w+)\]'", told))
    assert f"\n{extra} = [" in (HOME / "pyproject.toml").read_text("utf-8")
    seen = [line[1:] for line in (HOME / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert {"rtsep", "share", "pyproject.toml", "README.md", "LICENSE"} <= set(seen)
    assert all((HOME / name).exists() for name in seen)


def _verbs() -> dict[str, Any]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined,no-any-return]


def test_the_desktop_entry_is_valid_and_runs_what_there_is() -> None:
    entry = ENTRY.read_text("utf-8")
    program, verb = re.findall(r"^Exec=(\S+) (\S+)$", entry, re.MULTILINE)[0]
    assert program == "rtsep" and verb in _verbs()
    icon = SHARE / "icons/hicolor/scalable/apps/rtsep.svg"
    assert icon.read_bytes() == (HOME / "rtsep/panel/static/icon.svg").read_bytes()
    servers.install("desktop-file-utils", program="desktop-file-validate")
    assert run("desktop-file-validate", ENTRY).stdout == ""
