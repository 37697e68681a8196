"""Evaluation and benchmarks on a miniature test set of real audio, with tiny models whose result is known."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import typer
from typer.testing import CliRunner

pytest.importorskip("pesq")
pytest.importorskip("pystoi")

from benchmarks import quality, throughput
from benchmarks.machine import environment
from benchmarks.peers import DTLN, GTCRN, PEERS, DeepFilterNet3, Peer, RNNoise, WebRTC
from benchmarks.peers.peer import Run
from rtsep.errors import InputError, RtsepError
from rtsep.model import load, shipped
from tests.graphs import Network
from tests.training.test_dnsmos import graph
from training.evaluation import distillmos, dnsmos, evaluate, speech_metrics, word_errors

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000
# NAME -> first second of the excerpt
CLIPS = {"0_so1181_rain-heavy_snr5": 1, "1_so1181_rain-heavy_snr0": 3, "2_so9617_keys-brown_snr5": 6}


@pytest.fixture(scope="module")
def testset(tmp_path_factory) -> Path:
    """Three two-second pairs of the demo recording, in a folder of sets."""
    home = tmp_path_factory.mktemp("sets")
    for kind in ("clean", "noisy"):
        (home / "mini" / kind).mkdir(parents=True)
        for name, second in CLIPS.items():
            x, _ = sf.read(DATA / f"demo.{kind}.flac", start=second * RATE, stop=(second + 2) * RATE, dtype="float32")
            sf.write(home / "mini" / kind / f"{name}.flac", x, RATE)
    return home


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> Path:
    """A model at the clips' rate that puts out its input."""
    return Network(identity=True, sample_rate=RATE).save(tmp_path_factory.mktemp("model") / "identity.onnx")


def run(program, *arguments: object):
    app = typer.Typer()
    app.command()(program)
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


def test_pairs_are_found_with_noise_and_snr(testset):
    sets = evaluate.find_pairs(testset)
    assert list(sets) == ["mini"] and sets == evaluate.find_pairs(testset / "mini")
    assert [(p.name, p.noise, p.family, p.snr) for p in sets["mini"]] == [
        ("0_so1181_rain-heavy_snr5", "rain-heavy", "rain", 5),
        ("1_so1181_rain-heavy_snr0", "rain-heavy", "rain", 0),
        ("2_so9617_keys-brown_snr5", "keys-brown", "keys", 5),
    ]
    clean, noisy, rate = sets["mini"][0].read()
    assert rate == RATE and len(clean) == len(noisy) == 2 * RATE


def test_negative_and_missing_snr_in_names(testset, tmp_path):
    shutil.copytree(testset / "mini", tmp_path / "other")
    for kind in ("clean", "noisy"):
        files = sorted((tmp_path / "other" / kind).iterdir())
        files[0].rename(files[0].with_name("x_wind_snr-5.flac"))
        files[1].rename(files[1].with_name("plain.flac"))
    found = {p.name: (p.noise, p.family, p.snr) for p in evaluate.find_pairs(tmp_path / "other")["other"]}
    assert found["x_wind_snr-5"] == ("wind", "wind", -5)
    assert found["plain"] == (None, None, None)


def test_streaming_removes_the_latency_to_the_sample(testset, identity):
    pair = evaluate.find_pairs(testset)["mini"][0]
    _, noisy, rate = pair.read()
    enhanced = evaluate.Streamed(str(identity))(noisy, rate)
    assert enhanced.rate == RATE and len(enhanced.audio) == len(noisy)
    assert enhanced.cpu_s > 0
    np.testing.assert_allclose(enhanced.audio, noisy, atol=1e-5)


def test_streaming_at_the_models_rate_keeps_alignment(testset, tmp_path):
    model = Network(identity=True, sample_rate=48_000).save(tmp_path / "identity.onnx")
    clean, noisy, rate = evaluate.find_pairs(testset)["mini"][0].read()
    enhanced = evaluate.Streamed(str(model))(noisy, rate)
    assert enhanced.rate == 48_000 and len(enhanced.audio) == 3 * len(noisy)
    before, after = (
        speech_metrics.score(clean, rate, noisy),
        speech_metrics.score(clean, rate, enhanced.audio, enhanced.rate),
    )
    assert after["si_sdr"] == pytest.approx(before["si_sdr"], abs=0.1)
    assert after["pesq_wb"] == pytest.approx(before["pesq_wb"], abs=0.02)


def test_evaluate_prints_and_writes_what_it_measured(testset, identity, tmp_path, monkeypatch):
    opinions = dnsmos.MEASURES  # without being asked for, where speechmos is installed: here a small network is
    monkeypatch.setattr(dnsmos, "find", lambda: graph(tmp_path / "answers.onnx"))
    result = run(evaluate.main, identity, testset, "--json", tmp_path / "speech_metrics.json")
    assert result.exit_code == 0, result.output
    for text in ("PESQ-WB", "mini by SNR", "mini by noise", "2.00 ms", "3 clips", "5 dB, 2 clips", "keys, 1 clip "):
        assert text in result.output
    report = json.loads((tmp_path / "speech_metrics.json").read_text())
    assert report["model"]["file"] == "identity.onnx" and report["model"]["algorithmic_latency"] == 32
    assert str(tmp_path) not in json.dumps(report)
    noisy, model = (report["sets"]["mini"][key] for key in ("noisy", "model"))
    printed = [line for line in result.output.splitlines() if "│" in line]
    for measure, (
        title,
        _,
    ) in speech_metrics.MEASURES.items():  # in the whole, by SNR and by noise, unless always undefined
        times = 3 if model["summary"][measure]["n"] else 1
        assert sum(line.startswith((f"│ {title} │", f"│ {title}  ", f"│ {title} (")) for line in printed) == times
    assert "DNSMOS OVRL" in result.output
    assert list(noisy["summary"]) == [*speech_metrics.MEASURES, *opinions]
    assert model["summary"]["si_sdr"]["mean"] == pytest.approx(noisy["summary"]["si_sdr"]["mean"], abs=1e-3)
    assert {snr: some["stoi"]["n"] for snr, some in model["by_snr"].items()} == {"0": 1, "5": 2}
    assert {noise: some["stoi"]["n"] for noise, some in model["by_noise"].items()} == {"keys": 1, "rain": 2}
    row = model["rows"][0]
    clean, input_, _ = evaluate.find_pairs(testset)["mini"][0].read()
    assert row["pesq_wb"] == pytest.approx(speech_metrics.pesq_wb(clean, input_, RATE), abs=0.01)
    assert row["seconds"] == 2 and row["cpu_s"] > 0


def test_dnsmos_is_added_where_its_file_is_given(testset, identity, tmp_path):
    file = graph(tmp_path / "answers.onnx")
    result = run(
        evaluate.main, identity, testset, "--dnsmos", file, "--workers", 2, "--json", tmp_path / "speech_metrics.json"
    )
    assert result.exit_code == 0, result.output
    assert "DNSMOS SIG" in result.output and "DNSMOS OVRL" in result.output
    report = json.loads((tmp_path / "speech_metrics.json").read_text())
    assert len(report["dnsmos_sha256"]) == 64
    noisy, model = (report["sets"]["mini"][key]["summary"] for key in ("noisy", "model"))
    assert noisy["bak"]["n"] == 3 and model["bak"]["mean"] == pytest.approx(noisy["bak"]["mean"], abs=1e-3)
    _, x, rate = evaluate.find_pairs(testset)["mini"][0].read()
    row = report["sets"]["mini"]["noisy"]["rows"][0]
    assert row["ovrl"] == pytest.approx(dnsmos.DNSMOS(file)(x, rate)["ovrl"], abs=1e-6)
    refused = run(evaluate.main, identity, testset, "--dnsmos", identity)
    assert refused.exit_code == 2 and "is not DNSMOS's P.835 network" in refused.output


@pytest.mark.parametrize(
    "flag, judge, sentence",
    [("--words", word_errors, "Word errors need"), ("--distillmos", distillmos, "DistillMOS is not")],
)
@pytest.mark.parametrize("program", ["evaluate", "quality"])
def test_a_missing_judge_is_one_sentence_before_anything_is_scored(
    testset, identity, monkeypatch, program, flag, judge, sentence
):
    monkeypatch.setattr(judge, "installed", lambda: False)
    start = (evaluate.main, identity, testset) if program == "evaluate" else (quality.main, "--testset", testset)
    result = run(*start, flag)
    assert result.exit_code == 1
    assert (
        result.output.startswith(sentence) and "pip install" in result.output and len(result.output.splitlines()) == 1
    )


@pytest.mark.skipif(not (word_errors.installed() and distillmos.installed()), reason="a judge is not installed")
def test_further_judges_are_asked_where_wanted(testset, identity, tmp_path, monkeypatch):
    monkeypatch.setattr(dnsmos, "find", lambda: None)  # a judge that is asked anyway, and has tests of its own
    for kind in ("clean", "noisy"):
        (tmp_path / "mini" / kind).mkdir(parents=True)
        for name in list(CLIPS)[1:]:
            shutil.copy(testset / "mini" / kind / f"{name}.flac", tmp_path / "mini" / kind)
    words = ["--words", "--distillmos", "--strength", "0", "--json", tmp_path / "scores.json"]
    result = run(evaluate.main, identity, tmp_path / "mini", *words)
    assert result.exit_code == 0, result.output
    assert "DistillMOS" in result.output and "word errors %" in result.output
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["strength"] == 0
    noisy, model = (report["sets"]["mini"][key] for key in ("noisy", "model"))
    assert 1 <= noisy["summary"]["distillmos"]["mean"] <= 5
    for a, b in zip(noisy["rows"], model["rows"], strict=True):  # at strength 0 the output is the input
        assert a["words"] == b["words"] and a["wer"] == b["wer"]
        assert a["distillmos"] == pytest.approx(b["distillmos"], abs=1e-3)
    defined = [row for row in noisy["rows"] if row["wer"] is not None]
    errors, count = (sum(row["wer"] * row["words"] for row in defined), sum(row["words"] for row in defined))
    assert noisy["summary"]["wer"]["mean"] == pytest.approx(errors / count, abs=1e-3)


def test_two_workers_score_the_same(testset):
    pairs = evaluate.find_pairs(testset)["mini"]
    one, two = (evaluate.score_pairs(pairs, evaluate.Untouched, workers) for workers in (1, 2))
    assert [row["name"] for row in one] == [row["name"] for row in two] == list(CLIPS)
    for a, b in zip(one, two, strict=True):  # to rounding: sums in BLAS depend on where memory is aligned
        assert [b[m] for m in speech_metrics.MEASURES] == pytest.approx(
            [a[m] for m in speech_metrics.MEASURES], rel=1e-9, nan_ok=True
        )


@pytest.mark.parametrize("trouble", ["folder", "empty", "twin", "length", "stereo", "audio", "model"])
def test_bad_input_is_one_sentence(testset, identity, tmp_path, trouble):
    home, model = tmp_path / "mini", identity
    shutil.copytree(testset / "mini", home)
    first = next(iter(CLIPS)) + ".flac"
    if trouble == "folder":
        home = tmp_path / "nowhere"
    elif trouble == "empty":
        shutil.rmtree(home / "noisy")
    elif trouble == "twin":
        (home / "clean" / first).unlink()
    elif trouble == "length":
        sf.write(home / "clean" / first, np.zeros(RATE), RATE)
    elif trouble == "stereo":
        sf.write(home / "noisy" / first, np.zeros((2 * RATE, 2)), RATE)
    elif trouble == "audio":
        (home / "noisy" / first).write_text("not audio")
    elif trouble == "model":
        model = tmp_path / "missing.onnx"
    result = run(evaluate.main, model, home)
    assert result.exit_code == 2
    sentences = [line for line in result.output.splitlines() if line.strip() and "━" not in line]
    assert len(sentences) == 1 and sentences[0].endswith("."), result.output


def test_json_never_holds_nan_and_leaves_no_partial_file(tmp_path):
    evaluate.write_json(tmp_path / "x.json", {"a": math.nan, "b": [-math.inf, 1.5], "c": {"d": None}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": None}}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(RtsepError, match="cannot be written"):
        evaluate.write_json(tmp_path / "missing" / "x.json", {})


def test_undefined_clips_are_counted(testset):
    rows = evaluate.score_pairs(evaluate.find_pairs(testset)["mini"], evaluate.Untouched)
    rows[0]["pesq_wb"] = math.nan
    summary = evaluate.summarise(rows)
    assert summary["pesq_wb"]["n"] == 2 and summary["stoi"]["n"] == 3
    assert summary["pesq_wb"]["mean"] == pytest.approx((rows[1]["pesq_wb"] + rows[2]["pesq_wb"]) / 2)


@pytest.mark.parametrize("peer", PEERS)
def test_delay_of_a_peer_is_what_it_says(peer: type[Peer]):
    if not peer.installed():
        pytest.skip(f"{peer.package} is not installed")
    clean, _ = sf.read(DATA / "demo.clean.flac", start=RATE, stop=5 * RATE, dtype="float32")
    x = speech_metrics.resample(clean, RATE, peer.sample_rate).astype(np.float32)
    stream = peer()
    y = np.concatenate([stream.process(x[at : at + peer.frame]).copy() for at in range(0, len(x) - 480, peer.frame)])
    likeness = [np.dot(y[lag:], x[: len(y) - lag]) for lag in range(peer.delay + 2 * peer.frame)]
    assert int(np.argmax(likeness)) == peer.delay


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_is_aligned_and_cleans(testset, peer: type[Peer]):
    if not peer.installed():
        pytest.skip(f"{peer.package} is not installed")
    clean, noisy, rate = evaluate.find_pairs(testset)["mini"][2].read()
    enhanced = Run(peer)(noisy, rate)
    assert enhanced.rate == peer.sample_rate
    assert len(enhanced.audio) == len(noisy) * peer.sample_rate // rate
    assert enhanced.cpu_s > 0
    assert (
        speech_metrics.pesq_nb(clean, speech_metrics.resample(enhanced.audio, enhanced.rate, rate)[: len(clean)], rate)
        > 1
    )
    hush = Run(peer)(np.zeros(RATE, np.float32), rate)
    assert np.abs(hush.audio).max() < 1e-3


def test_latency_of_peers_is_delay_plus_frame():
    assert RNNoise.latency_ms() == 30
    assert WebRTC.latency_ms() == 16
    assert DTLN.latency_ms() == GTCRN.latency_ms() == 32
    assert DeepFilterNet3.latency_ms() == 40


@pytest.mark.parametrize("peer", [DTLN, GTCRN, DeepFilterNet3])
def test_a_peer_without_its_package_is_one_sentence(monkeypatch, peer: type[Peer]):
    monkeypatch.setattr(peer, "package", "no-such-package")
    assert not peer.installed()
    with pytest.raises(InputError, match="pip install --no-deps no-such-package"):
        peer()


def test_a_wrong_gtcrn_file_is_refused(testset, identity):
    result = run(quality.main, "--testset", testset, "--gtcrn", identity)
    assert result.exit_code == 2 and "is not GTCRN's streaming model" in result.output


def test_quality_lists_measured_cited_and_missing(testset, identity, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "shipped", dict)
    monkeypatch.setattr(RNNoise, "installed", classmethod(lambda cls: False))
    pairs = evaluate.find_pairs(testset)["mini"]
    row = {"name": "other-tool", "sample_rate": 48000, "latency_ms": 20.0, "hop_ms": 10.0, "parameters": 88000}
    means = {"pesq_wb": 1.57, "pesq_nb": 2.16, "stoi": 0.743, "estoi": 0.604, "si_sdr": 7.84}
    content = {"sets": {"known": quality.fingerprint(pairs)}, "rows": [{**row, "scores": {"known": means}}]}
    (tmp_path / "cited.json").write_text(json.dumps(content))
    monkeypatch.setattr(quality, "CITED", tmp_path / "cited.json")

    words = ["--testset", testset, "--model", identity, "--json", tmp_path / "quality.json"]
    result = run(quality.main, *words, "--dnsmos", graph(tmp_path / "answers.onnx"))
    assert result.exit_code == 0, result.output
    for text in (
        "DNSMOS OVRL",
        "DNSMOS BAK",
        "PES quiet dB",
        "noisy",
        "identity.onnx",
        "other-tool (cited, not run here)",
        "rnnoise-0.2 (not installed: pip install pyrnnoise)",
    ):
        assert text in result.output
    report = json.loads((tmp_path / "quality.json").read_text())
    assert report["not_installed"] == ["rnnoise-0.2"]
    measured = {r["method"]["name"]: r for r in report["sets"]["mini"]["measured"]}
    assert list(measured)[:2] == ["noisy", "tiny (identity.onnx)"]
    same = [measured[name]["summary"]["estoi"]["mean"] for name in list(measured)[:2]]
    assert same[0] == pytest.approx(same[1], abs=1e-3)
    assert measured["tiny (identity.onnx)"]["cpu_per_s"] > 0
    assert measured["tiny (identity.onnx)"]["method"]["latency_ms"] == 2
    assert report["sets"]["mini"]["cited"][0]["scores"] == means
    assert quality.measured(report["sets"]["mini"]["measured"]) == [*quality.MEASURES, "ovrl"]
    assert len(report["dnsmos_sha256"]) == 64


def test_cited_rows_hold_for_their_own_files_only(testset, tmp_path):
    pairs = evaluate.find_pairs(testset)["mini"]
    assert quality.cited(pairs) == []
    shutil.copytree(testset / "mini", tmp_path / "mini")
    same = evaluate.find_pairs(tmp_path / "mini")["mini"]
    assert quality.fingerprint(same) == quality.fingerprint(pairs)
    with same[0].noisy.open("ab") as file:
        file.write(b"\0")
    assert quality.fingerprint(same) != quality.fingerprint(pairs)


def test_cited_file_is_complete():
    content = json.loads(quality.CITED.read_text())
    assert content["source"] and "rnnoise-0.1" in [row["name"] for row in content["rows"]]
    for row in content["rows"]:
        assert set(row["scores"]) == set(content["sets"])
        assert all(set(means) == {*quality.MEASURES, quality.OPINION} for means in row["scores"].values())


def test_what_was_measured_is_not_cited(testset, tmp_path, monkeypatch):
    pairs = evaluate.find_pairs(testset)["mini"]
    rows = [{"name": name, "scores": {"mini": {"stoi": 0.5}}} for name in ("dtln", "other-tool")]
    (tmp_path / "cited.json").write_text(json.dumps({"sets": {"mini": quality.fingerprint(pairs)}, "rows": rows}))
    monkeypatch.setattr(quality, "CITED", tmp_path / "cited.json")
    assert [row["name"] for row in quality.cited(pairs)] == ["dtln", "other-tool"]
    assert [row["name"] for row in quality.cited(pairs, [{"method": {"name": "dtln"}}])] == ["other-tool"]


def test_throughput_measures_every_stream(identity, tmp_path):
    result = run(throughput.main, "--model", identity, "--seconds", 1, "--json", tmp_path / "speed.json")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "speed.json").read_text())
    names = [stream["name"] for stream in report["streams"]]
    ships = [f"rtsep {name}" for name in shipped() if load(name).spec.target == "speech"]
    assert names == ["rtsep tiny", *ships, *(peer.name for peer in PEERS if peer.installed())]
    for stream in report["streams"]:
        assert stream["calls"] == pytest.approx(1000 / stream["frame_ms"], abs=throughput.ROUNDS)
        assert 0 < stream["p50_ms"] <= stream["p95_ms"] <= stream["p99_ms"] <= stream["p99.9_ms"] <= stream["max_ms"]
        assert 0 < stream["cpu_per_s"] < 100
    assert report["offline"]["times_real_time"] > 0 and report["processor"]
    assert str(tmp_path) not in json.dumps(report)


def test_percentiles_and_shares_are_of_the_calls():
    contender = throughput.Contender("x", 48_000, 480, lambda block: None)
    contender.calls_ns, contender.cpu_s = [1_000_000] * 98 + [20_000_000] * 2, 0.1
    result = contender.result()
    assert result["p50_ms"] == 1 and result["max_ms"] == 20
    assert result["median_share"] == pytest.approx(0.1) and result["over_budget"] == pytest.approx(0.02)
    assert result["cpu_per_s"] == pytest.approx(0.1)
    assert result["wall_per_s"] == pytest.approx(0.138)


def test_environment_names_the_processor_and_nothing_private():
    import socket

    found = environment()
    text = json.dumps(found)
    assert found["processor"] and f'"numpy": "{np.__version__}"' in text
    assert str(Path.home()) not in text or len(str(Path.home())) < 2
    host = socket.gethostname()
    words = {word for value in _values(found) for word in re.split(r"[^\w.-]+", str(value))}
    assert len(host) < 4 or host not in words


def _values(found: Any) -> Iterator[Any]:
    """All that stands in nested lists and dictionaries, without the keys."""
    if isinstance(found, dict | list):
        for value in found.values() if isinstance(found, dict) else found:
            yield from _values(value)
    else:
        yield found


def test_a_pair_must_belong_together(testset):
    pairs = evaluate.find_pairs(testset)["mini"]
    with pytest.raises(InputError, match="differ in rate or length"):
        evaluate.Pair("x", "x", DATA / "demo.clean.flac", pairs[0].noisy, None, None).read()
