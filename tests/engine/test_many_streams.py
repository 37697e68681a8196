"""Engine: every stream has the bits that it has alone, whoever joins and leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st

import rtsep
from rtsep import InputError
from rtsep.engine.many_streams import Engine
from tests.streams import NETWORKS, noise

SLOW_FAST = Path(__file__).parents[2] / "training" / "runs" / "denoise-slow-fast.onnx"
PLACES = 5


def engine_and_model(models, name: str, streams: int = PLACES) -> tuple[Engine, rtsep.Model]:
    path = models(NETWORKS[name]).path if name in NETWORKS else name
    model = rtsep.load(path, backend="compiled")
    return Engine(model, streams), model


@given(
    name=st.sampled_from(["plain", "stereo", "recurrent", "slow", "odd sizes", "denoise-small", str(SLOW_FAST)]),
    turns=st.lists(st.tuples(st.booleans(), st.integers(0, PLACES - 1)), min_size=1, max_size=12),
)
def test_each_stream_has_the_bits_that_it_has_alone(models, name, turns):
    engine, model = engine_and_model(models, name)
    hop, channels = model.spec.hop, model.spec.channels
    alone: dict[int, rtsep.Stream] = {}
    sound = noise(len(turns), PLACES, 7 * hop, channels)
    heard = 0.0
    for pieces, (joins, place) in zip(sound, turns, strict=True):
        if joins and len(alone) < PLACES:
            alone[engine.join()] = model.stream(channels=channels, block_multiple=hop)
        elif place in alone:
            engine.leave(place)
            del alone[place]
        assert set(engine.places) == set(alone)
        for begin in range(0, 7 * hop, hop):
            block = np.ascontiguousarray(pieces[:, begin : begin + hop])
            out = engine.process(block)
            for free in set(range(PLACES)) - set(alone):
                assert not out[free].any()
            for used, stream in alone.items():
                expected = stream.process(block[used])
                np.testing.assert_array_equal(out[used], expected)
                assert engine.activity(used) == stream.activity
                heard = max(heard, float(np.abs(expected).max()))
    assert heard > 1e-3 or not any(joins for joins, _ in turns)


def test_the_latency_is_that_of_whole_hops(models):
    engine, model = engine_and_model(models, "look-ahead")
    assert engine.latency == model.stream(block_multiple=model.spec.hop).latency


def test_what_cannot_be_is_refused(models):
    engine, model = engine_and_model(models, "plain", 2)
    assert (engine.join(), engine.join()) == (0, 1)
    with pytest.raises(InputError, match="All 2 streams"):
        engine.join()
    engine.leave(0)
    assert engine.join() == 0
    with pytest.raises(InputError, match="no stream at place 7"):
        engine.leave(7)
    for wrong in (np.zeros((2, 16, 2), np.float32), np.zeros((2, 16, 1)), np.zeros((3, 16, 1), np.float32)):
        with pytest.raises(InputError, match="it must be float32"):
            engine.process(wrong)
    for number in (0, True, 1.5, 2000):
        with pytest.raises(InputError, match="whole number from 1 to 1024"):
            Engine(model, number)
    with pytest.raises(InputError, match="is not compiled"):
        Engine(models(Network()), 2)
