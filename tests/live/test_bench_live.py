"""`bench live`: the parts add up to the round trip, each probed; the page holds all and opens without a network."""

from __future__ import annotations

import json
import re

import pytest
from servers import install

from rtsep.report.live import measure_live
from rtsep.report.live_page import live_lines, live_page

pytestmark = pytest.mark.usefixtures("patient")


def test_bench_live(random_model: str) -> None:
    install("jackd2", "libportaudio2", program="jackd")
    result = json.loads(json.dumps(measure_live(random_model, slack=1, seconds=0.5, names=("all cores busy",))))
    budget = result["budget"]
    # Delay added to an empty pass-through: synthesis window - hop + slack x block
    assert budget["parts_samples"] == {"stream": 128, "slack": 128, "portaudio": 0, "server": 128}
    assert sum(budget["parts_samples"].values()) == budget["round_trip_samples"]
    assert budget["added_samples"] == budget["announced_samples"] == 256
    (entry,) = result["loads"]
    empty = entry["empty_callback"]
    assert entry["callbacks"] > 20 and 0 <= entry["late_blocks"] <= entry["lost_blocks"] <= entry["callbacks"]
    assert sum(entry["histogram"]["compute"]) > 10  # one run makes several blocks when it comes late
    assert sum(entry["histogram"]["gap"]) == entry["callbacks"] - 1
    assert sum(entry["histogram"]["empty_gap"]) == empty["callbacks"] - 1
    # The empty callback beside it is called by the same server and has a clock of its own that runs.
    assert 0.5 < empty["callbacks"] / entry["callbacks"] < 2
    assert 0.2 < empty["gap_ms"]["p50"] / entry["gap_ms"]["p50"] < 5
    page, lines = live_page(result), live_lines(result)
    assert page.count("data:image/png;base64,") == 3 and not re.search(r"""(src|href)=["']?http""", page)
    assert "8.00 ms" in page and any("all cores busy" in line for line in lines)


def test_inside_the_callback_there_is_the_stream_and_nothing_else(random_model: str) -> None:
    install("jackd2", "libportaudio2", program="jackd")
    result = json.loads(json.dumps(measure_live(random_model, slack=0, seconds=0.5, names=("idle",))))
    budget, (entry,) = result["budget"], result["loads"]
    assert budget["parts_samples"] == {"stream": 128, "slack": 0, "portaudio": 0, "server": 128}
    assert budget["round_trip_samples"] == 256 and budget["added_samples"] == budget["announced_samples"] == 128
    assert entry["late_blocks"] == 0 and sum(entry["histogram"]["compute"]) == entry["callbacks"]
    assert any("5.333 ms" in line for line in live_lines(result))
    assert "5.33 ms" in live_page(result)
