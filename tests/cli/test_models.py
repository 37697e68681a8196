"""`rtsep models`: one line a model, and one bad file hides no good one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rtsep.model import baselines, shipped
from tests.program import rtsep


def test_one_line_a_model_whatever_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    result = rtsep("models")
    assert result.exit_code == 0
    heading, *lines = result.stdout.splitlines()
    assert heading.split() == ["name", "task", "latency", "of", "a", "core", "licence"]
    assert [line.split()[0] for line in lines] == [*shipped(), *baselines()]
    for line in lines:
        assert ("(baseline)" in line) == (line.split()[0] in baselines())
        assert " ms " in line and " % " in line and "MIT" in line
    assert any("denoise " in line and "speech without noise" in line and "5.33 ms" in line for line in lines)


def test_an_exported_model_keeps_its_own_name_and_a_bad_one_hides_none(here):
    shutil.copy(shipped()["denoise-small"], "quiet-room.onnx")
    Path("bad.onnx").write_text("no model")
    result = rtsep("models", "bad.onnx", "quiet-room.onnx", "nowhere.onnx")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[1].startswith("quiet-room.onnx ")
    assert result.stderr.count("\n") == 2 and "bad.onnx" in result.stderr and "nowhere.onnx" in result.stderr
    (told,) = json.loads(rtsep("models", "bad.onnx", "quiet-room.onnx", "--json").stdout)
    assert (told["model"], told["name"]) == ("quiet-room.onnx", "denoise-small")
    assert 0 < told["share_of_core"] < 100


def test_the_share_of_a_core_grows_with_the_model():
    """The shipped large model does about four times the work; tried again, for machines are busy."""
    from rtsep.report.models import share_of_core

    for _ in range(10):
        if share_of_core("denoise") > 1.5 * share_of_core("denoise-small"):
            return
    pytest.fail("the large model never took longer than the small one")
