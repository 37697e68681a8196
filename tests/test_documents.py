"""Documents are true: their programs run and are typed, their commands exist, their site builds and fetches nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main
from PIL import Image

import rtsep
from rtsep.cli import app

HOME = Path(__file__).parents[1]
PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md", *sorted((HOME / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NAMES = {page: str(page.relative_to(HOME)) for page in PAGES}


def blocks(page: Path, language: str) -> list[str]:
    """What the fences of a language hold. Those with a title are whole files, tested where their subject is."""
    found = FENCE.findall(page.read_text("utf-8"))
    return [text for _, name, rest, text in found if name == language and "title=" not in rest]


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


def program(page: Path) -> str:
    return "\n".join(blocks(page, "python"))


def test_readme_is_short() -> None:
    assert len((HOME / "README.md").read_bytes()) <= 9 * 1024


def test_there_are_programs_to_test() -> None:
    assert {"README.md", "docs/python.md", "docs/getting-started.md"} <= {NAMES[page] for page in WITH_PYTHON}


@pytest.mark.parametrize("page", WITH_PYTHON, ids=NAMES.get)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """All of a page in one process, from top to bottom, as a reader would type it."""
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    command = [sys.executable, "-c", program(page)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_python_is_typed(tmp_path: Path) -> None:
    for page in WITH_PYTHON:
        name = re.sub(r"\W", "_", NAMES[page])
        (tmp_path / f"{name}.py").write_text(program(page), "utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(HOME / "pyproject.toml"), str(tmp_path)]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def commands(page: Path) -> list[list[str]]:
    """The words of every command in the shell blocks, pipes and `&&` taken apart."""
    found = []
    for text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words: list[str] = []
            for word in [*shlex.split(line, comments=True), "&&"]:
                if word in ("|", "&&"):
                    found.append(words)
                    words = []
                else:
                    words.append(word)
    return [words for words in found if words]


def options_of(words: list[str]) -> tuple[str, click.Command]:
    """`rtsep bench live …`: its name, bench live, and its command."""
    command: click.Command = typer.main.get_command(app)
    name = []
    for word in words[1:]:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands or word.startswith("-"), f"there is no {' '.join(words)}"
        if word.startswith("-"):
            break
        command = command.commands[word]
        name.append(word)
    return " ".join(name), command


def unknown_options() -> set[tuple[str, str]]:
    """(verb, option) of every `rtsep` command in the pages whose option the program does not have."""
    missing = set()
    for page in PAGES:
        for words in commands(page):
            if words[0] == "rtsep":
                verb, command = options_of(words)
                known = {name for each in command.params for name in each.opts} | {"--help", "-h"}
                used = {word.split("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
                missing |= {(verb, option) for option in used - known}
    return missing


def test_commands_have_the_options_that_pages_show() -> None:
    assert not unknown_options()


def test_modules_and_targets_that_pages_name_exist() -> None:
    makefile = (HOME / "Makefile").read_text("utf-8")
    named = 0
    for page in PAGES:
        for words in commands(page):
            if words[0] == "python" and words[1] == "-m":
                assert importlib.util.find_spec(words[2]), f"{page.name}: no module {words[2]}"
                named += 1
            if words[0] == "make":
                assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), f"{page.name}: no target {words[1]}"
                named += 1
        for module in re.findall(r"python -m ((?:benchmarks|training|rtsep)[\w.]*)", page.read_text("utf-8")):
            assert importlib.util.find_spec(module), f"{page.name}: no module {module}"
    assert named > 5


def test_paths_that_pages_name_exist() -> None:
    """`training/LOG.md` and the like; a word with a capital letter, a star or an ellipsis is a placeholder."""
    rooms = "rtsep|training|benchmarks|tests|docs|examples"
    for page in PAGES:
        for path in re.findall(rf"`((?:{rooms})/[a-z0-9_./-]*)`", page.read_text("utf-8")):
            assert (HOME / path).exists(), f"{NAMES[page]}: no {path}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Pages of docs/ are checked by mkdocs, when the site is built."""
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (HOME / name).read_text("utf-8")):
        assert (HOME / link).exists(), link


def test_the_picture_is_of_the_shipped_model() -> None:
    """`make picture` draws it anew."""
    with Image.open(HOME / "docs" / "assets" / "before-after.png") as picture:
        made_by = picture.info["Comment"]
    spec = rtsep.load("denoise").spec
    assert made_by == f"denoise {spec.version}, weights {spec.weights_sha256}"
    assert (HOME / "docs" / "assets" / "before-after.png").stat().st_size < 200_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: a broken link, or a page outside of the navigation, is a failure."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_fetches_nothing(site: Path) -> None:
    """What a browser loads by itself: scripts, styles, pictures, fonts. A link followed by hand may lead away."""
    loads = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert not loads.findall(page.read_text("utf-8")), page.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(\"?(?:https?:)?//", style.read_text("utf-8")), style.name


def test_the_site_has_the_docstrings_and_the_cards(site: Path) -> None:
    reference = (site / "python" / "index.html").read_text("utf-8")
    for name in ("load", "enhance", "Stream.process", "Model.stream", "ModelSpec", "InputError"):
        assert f'id="rtsep.{name}"' in reference
    for name in ("denoise", "denoise-small", "karaoke"):
        assert rtsep.load(name).spec.weights_sha256[:16] in (site / "models" / name / "index.html").read_text("utf-8")
