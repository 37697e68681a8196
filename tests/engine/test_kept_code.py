"""Where compiled code is kept, and what of it is taken: never another source's, never one that a stranger wrote."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rtsep.engine import kept_code
from rtsep.engine.kept_code import KeptCode

CODE = b"machine code" * 100


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, and a user's cache."""
    return install(tmp_path / "one", monkeypatch)


def install(place: Path, patch: pytest.MonkeyPatch) -> Path:
    root = place / "rtsep"
    for room in ("engine", "live"):
        (root / room).mkdir(parents=True)
        (root / room / "kernels.py").write_text("VALUE = 1\n")
    (root / "__init__.py").touch()
    use(root, patch)
    patch.setenv("XDG_CACHE_HOME", str(place.parent / "cache"))
    return root


def use(root: Path, patch: pytest.MonkeyPatch) -> None:
    """As in a process that has just loaded it."""
    patch.setattr(kept_code, "_PACKAGE", root)
    patch.setattr(kept_code, "_LOADED", kept_code._stamps())
    kept_code._digest.cache_clear()


def code(module: str = "rtsep.engine.kernels", name: str = "step") -> KeptCode:
    return KeptCode(module, name)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.native"))


def test_it_is_kept_beside_its_source_for_everybody_who_may_run_it(package: Path) -> None:
    assert code().read() is None
    assert code().keep(CODE) == CODE and code().read() == CODE
    (file,) = files(package)
    assert file.parent == package / "engine" / "__pycache__" and file.stat().st_mode & 0o777 == 0o644
    assert code().keep(b"another's") == CODE, "who comes second takes what is there"
    assert code(name="other").read() is None


def test_what_is_damaged_is_not_taken_and_replaced(package: Path) -> None:
    code().keep(CODE)
    (file,) = files(package)
    file.write_bytes(file.read_bytes()[:-1])
    assert code().read() is None
    assert code().keep(b"new") == b"new" and code().read() == b"new"


def test_another_source_has_another_name_and_the_old_code_goes(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code().keep(CODE)
    code("rtsep.live.kernels").keep(CODE)
    (package / "live" / "kernels.py").write_text("VALUE = 22\n")
    use(package, monkeypatch)
    assert code().read() == CODE and code("rtsep.live.kernels").read() is None
    code("rtsep.live.kernels").keep(b"new")
    assert len(files(package)) == 2
    (package / "engine" / "kernels.py").write_text("VALUE = 333\n")
    use(package, monkeypatch)
    assert code().read() is None and code("rtsep.live.kernels").read() is None, "all rooms use the engine's constants"


def test_a_process_of_older_sources_neither_takes_nor_keeps(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code().keep(CODE)
    (package / "engine" / "kernels.py").write_text("VALUE = 22\n")  # an update, while this process runs
    assert code().read() is None and code().keep(b"mixed") == b"mixed"
    use(package, monkeypatch)
    assert code().read() is None
    for source in package.rglob("kernels.py"):
        source.unlink()  # a program that is frozen has none
    use(package, monkeypatch)
    assert code().keep(CODE) == CODE and code().read() is None


def test_strangers_write_nothing_that_is_linked(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = package.stat().st_uid

    def about(mode: int, user: int) -> os.stat_result:
        return os.stat_result((0o100000 | mode, 0, 0, 1, user, 0, 0, 0, 0, 0))

    (package / "__init__.py").chmod(0o644)
    for mode, user, fine in ((0o644, owner, True), (0o600, 0, True), (0o644, owner + 4711, False)):
        assert kept_code._trusted(about(mode, user)) is fine, (mode, user)
    assert not kept_code._trusted(about(0o664, owner)) and not kept_code._trusted(about(0o666, owner))
    (package / "__init__.py").chmod(0o666)  # a disk without rights of its own: code is no worse than the sources
    assert kept_code._trusted(about(0o666, owner))

    (package / "__init__.py").chmod(0o644)
    code().keep(CODE)
    (file,) = files(package)
    file.chmod(0o666)
    assert code().read() is None and code().keep(b"new") == b"new" and code().read() == b"new"


def test_the_users_cache_holds_several_installations(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = install(tmp_path / "two", monkeypatch)
    for root in (package, other):
        (root / "engine" / "__pycache__").touch()  # no folder can be made there, by root neither
        use(root, monkeypatch)
        assert code().keep(CODE) == CODE
    assert len(files(tmp_path / "cache")) == 2
    use(package, monkeypatch)
    assert code().read() == CODE


def test_what_a_killed_process_had_begun_is_removed(package: Path) -> None:
    folder = package / "engine" / "__pycache__"
    folder.mkdir()
    (old, young) = (folder / name for name in ("newold.native", "newyoung.native"))
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    code().keep(CODE)
    assert not old.exists() and young.exists()
