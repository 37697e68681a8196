"""The activity benchmark finds words where they begin, and a head that hears them in a real recording."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

import rtsep
from benchmarks.activity import measure, onsets
from benchmarks.markdown import results
from training.evaluation.evaluate import find_pairs

DATA = Path(__file__).parents[1] / "data"


def test_onsets_follow_a_pause() -> None:
    speech = np.zeros(400, bool)
    speech[[*range(100, 200), *range(210, 300)]] = True  # the second pause is 10 hops: too short
    assert np.flatnonzero(onsets(speech, 128 / 48000)).tolist() == list(range(100, 111))


def test_the_head_hears_real_speech(tmp_path: Path) -> None:
    for kind in ("clean", "noisy"):
        (tmp_path / kind).mkdir()
        shutil.copy(DATA / f"demo.{kind}.flac", tmp_path / kind / "demo.flac")
    pairs = next(iter(find_pairs(tmp_path).values()))
    found = measure(rtsep.load("denoise-small"), pairs)
    assert found["auc"] > 0.7 and found["hit"] > found["false"]
    assert found["lost_db"] < 1 and 0 < found["speech_share"] < 1


def test_results_belong_to_the_shipped_weights() -> None:
    for entries in results("activity")["sets"].values():
        for entry in entries:
            shipped = rtsep.load(entry["model"]["name"]).spec
            assert entry["model"]["weights_sha256"] == shipped.weights_sha256
