"""The mutation check names files that there are."""

from __future__ import annotations

import pytest

from tests.mutants import CHOSEN, HOME


@pytest.mark.parametrize("name", CHOSEN)
def test_modules_and_their_tests_exist(name: str) -> None:
    module, tests = CHOSEN[name]
    files = [word for word in tests.split() if word.startswith("tests/")]
    assert files and all((HOME / file).is_file() for file in [module, *files])
