"""EngineStream: with an Engine, the bits of a Stream, at every rate, for any blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rtsep
from rtsep import InputError
from rtsep.engine.engine_stream import EngineRounds, EngineStream, Message
from rtsep.engine.many_streams import Engine
from tests.streams import CUTS, NETWORKS, RATES, noise


class Served:
    """A stream and its places in an engine that it shares."""

    def __init__(self, engine: Engine, *options, **more) -> None:
        self.rounds, self.stream = EngineRounds(engine), EngineStream(engine.spec, *options, **more)
        self.places = [engine.join() for _ in range(self.stream.places)]
        self.stream.take_places(self.places)
        self.message = Message(self.stream, sixteen_bits=False)

    def process(self, block: np.ndarray) -> np.ndarray:
        self.message.put(block.tobytes())
        while self.message.left:
            self.rounds.step([self.message])
        return np.frombuffer(bytes(self.message.answer), np.float32).reshape(block.shape)


@given(
    name=st.sampled_from([*NETWORKS, "denoise-small"]),
    rate=st.sampled_from([None, *RATES]),
    channels=st.integers(1, 3),
    strength=st.sampled_from([None, 0.0, 12.0]),
    cuts=CUTS,
)
def test_the_bits_are_those_of_a_stream(models, name, rate, channels, strength, cuts):
    model = rtsep.load(models(NETWORKS[name]).path if name in NETWORKS else name, backend="compiled")
    channels = min(channels, 2) if model.spec.channels == 2 else channels
    stream = model.stream(rate, channels, strength)
    engine = Engine(model, 4)
    served = Served(engine, rate, channels, strength)
    other = Served(engine)
    for step, place in zip(stream._steps, served.places, strict=True):
        step._time = engine.first_hop(place)
    assert served.stream.latency == stream.latency
    x = noise(3000, channels)
    heard = 0.0
    for a, b in pairwise([0, *sorted(cut for cut in cuts if cut < 3000), 3000]):
        expected = stream.process(x[a:b])
        np.testing.assert_array_equal(served.process(x[a:b]), expected)
        heard = max(heard, float(np.abs(expected).max(initial=0)))
        other.process(noise(b - a, 1, seed=a))
    assert heard > 1e-3


def test_strength_is_ramped_as_a_stream_does_it(models):
    model = rtsep.load(models(NETWORKS["plain"]).path, backend="compiled")
    stream, served = model.stream(), Served(Engine(model, 1))
    x = noise(4000, 1)
    for begin, strength in ((0, None), (1000, 6.0), (2000, 0.0), (3000, None)):
        stream.strength = served.stream.strength = strength
        block = x[begin : begin + 1000]
        np.testing.assert_array_equal(served.process(block), stream.process(block))


def test_whole_hops_have_the_lower_latency(models):
    model = rtsep.load(models(NETWORKS["plain"]).path, backend="compiled")
    hop = model.spec.hop
    stream, served = model.stream(block_multiple=hop), Served(Engine(model, 1), block_multiple=hop)
    assert served.stream.latency == stream.latency < model.stream().latency
    np.testing.assert_array_equal(served.process(noise(9 * hop, 1)), stream.process(noise(9 * hop, 1)))


def test_what_does_not_fit_is_refused(models):
    stream = EngineStream(models(NETWORKS["plain"]).spec, channels=2)
    with pytest.raises(InputError, match="sample_rate"):
        EngineStream(stream.spec, 7)


def test_a_round_may_hold_a_long_message_of_every_stream(models):
    model = rtsep.load(models(NETWORKS["plain"]).path, backend="compiled")
    engine, streams = Engine(model, 12), [model.stream() for _ in range(12)]
    served = [Served(engine) for _ in streams]
    blocks = [noise(40 * model.spec.hop, 1, seed=index) for index in range(12)]
    rounds = EngineRounds(engine)
    for one, block in zip(served, blocks, strict=True):
        one.message.put(block.tobytes())
    messages = [one.message for one in served]
    most = 0
    while messages:
        most = max(most, rounds.step(messages))
        messages = [message for message in messages if message.left]
    assert most >= 12 * 16  # one stream of eight channels has 8 x 16
    for one, stream, block in zip(served, streams, blocks, strict=True):
        heard = np.frombuffer(bytes(one.message.answer), np.float32).reshape(block.shape)
        np.testing.assert_array_equal(heard, stream.process(block))
    with pytest.raises(ValueError, match="13 messages of 12 streams"):
        rounds.step([one.message for one in [*served, served[0]]])
