"""Documents say what the committed results say."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks import markdown, tables
from rtsep.engine.stream_settings import ASR_STRENGTH_DB
from rtsep.model import shipped


def test_documents_are_up_to_date() -> None:
    for file in tables.DOCUMENTS:
        text = file.read_text(encoding="utf-8")
        places = tables.PLACE.findall(text)
        assert places, f"{file.name} has no table"
        assert tables.render(text) == text, f"{file.name}: run `python -m benchmarks.tables`"


def test_a_changed_figure_is_noticed(tmp_path, monkeypatch) -> None:
    for file in markdown.RESULTS.glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    step = json.loads((tmp_path / "step.json").read_text(encoding="utf-8"))
    step["latency"]["stream_samples"] += 1
    (tmp_path / "step.json").write_text(json.dumps(step), encoding="utf-8")
    monkeypatch.setattr(markdown, "RESULTS", tmp_path)
    text = (tables.ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert tables.render(text) != text


def test_every_table_stands_in_a_document() -> None:
    """No result is printed and then forgotten; README has one table of figures, the rest stand in docs/results.md."""
    found = {
        file.name: [place[1] for place in tables.PLACE.findall(file.read_text("utf-8"))] for file in tables.DOCUMENTS
    }
    assert found["README.md"] == ["summary"]
    assert set(itertools.chain(*found.values())) == set(tables.TABLES)


def test_results_belong_to_the_shipped_weights() -> None:
    import rtsep

    sha = rtsep.load("denoise").spec.weights_sha256
    assert markdown.results("step")["model"]["weights_sha256"] == sha
    assert markdown.results("throughput")["model"]["weights_sha256"] == sha
    assert markdown.results("live")["model"]["weights_sha256"] == sha
    assert markdown.results("stability")["model"]["weights_sha256"] == sha
    assert markdown.results("word_errors")["model"]["weights_sha256"] == sha
    models = [entry["model"] for entry in markdown.results("robustness")["models"]]
    assert [model["weights_sha256"] for model in models if model["name"] == "denoise"] == [sha]
    for found in markdown.results("quality")["sets"].values():
        ours = [entry["method"] for entry in found["measured"] if entry["method"].get("target")]
        assert [method["weights_sha256"] for method in ours if method["name"] == "rtsep denoise"] == [sha]


def test_the_strength_for_recognisers_is_the_one_with_the_fewest_errors() -> None:
    errors = {name: values["errors"][0] for name, values in markdown.results("word_errors")["summary"].items()}
    strengths = {name: rate for name, rate in errors.items() if name != "noisy"}
    assert min(strengths, key=lambda name: strengths[name]) == f"{ASR_STRENGTH_DB:g}"


@pytest.mark.parametrize("name", ["karaoke", "karaoke-valid", "karaoke-valid-7"])
def test_karaoke_results_belong_to_what_is_shipped(name: str) -> None:
    """Whole songs, every baseline, and of a shipped model the very weights."""
    import rtsep
    from rtsep.model import baselines

    found = {entry["name"]: entry["method"] for entry in markdown.results(name)["results"]}
    assert {*baselines(), "karaoke"} <= set(found)
    for method in {*baselines(), *shipped()} & set(found):
        assert found[method]["weights_sha256"] == rtsep.load(method).spec.weights_sha256
    assert all(song["seconds"] > 200 for song in markdown.results(name)["songs"])
