"""Engine: every stream has the bits that it has alone, whoever joins, leaves, stands still or has a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st

import rtsep
from rtsep import InputError
from rtsep.engine.many_streams import Engine
from tests.streams import NETWORKS, noise

PLACES = 5
NAMES = ["plain", "stereo", "recurrent", "slow", "odd sizes", "denoise-small", "denoise"]
BAD = {"NaN": np.nan, "infinity": np.inf, "too loud": -1e30, "denormal": 1e-41}


def engine_and_model(models, name: str, streams: int = PLACES) -> tuple[Engine, rtsep.Model]:
    path = models(NETWORKS[name]).path if name in NETWORKS else name
    model = rtsep.load(path, backend="compiled")
    return Engine(model, streams), model


def stream_from(model: rtsep.Model, first_hop: int) -> rtsep.Stream:
    """A new stream alone, whose first hop has this number."""
    stream = model.stream(channels=model.spec.channels, block_multiple=model.spec.hop)
    for step in stream._steps:
        step._time = first_hop
    return stream


class Twins:
    """An engine beside streams that are alone: whatever is done to both, what comes out must be the same bits."""

    def __init__(self, models, name: str) -> None:
        self.engine, self.model = engine_and_model(models, name)
        self.hop, self.channels = self.model.spec.hop, self.model.spec.channels
        self.alone: dict[int, rtsep.Stream] = {}
        self.heard = 0.0

    def join(self) -> None:
        if len(self.alone) < PLACES:
            place = self.engine.join()
            self.alone[place] = stream_from(self.model, self.engine.first_hop(place))

    def leave(self, place: int) -> None:
        if place in self.alone:
            self.engine.leave(place)
            del self.alone[place]

    def process(self, block: np.ndarray, places: set[int] | None = None, broken: int | None = None) -> None:
        """One hop, `block` [places, hop, channels]; `broken` is where the state holds no number."""
        chosen = set(self.alone) if places is None else places & set(self.alone)
        if places is None:
            out = self.engine.process(block)
            assert not out[sorted(set(range(PLACES)) - chosen)].any()
        else:
            out = np.full_like(block, np.nan)
            out[list(chosen)] = self.engine.step(list(chosen), block[list(chosen)])
        for place in chosen:
            if place == broken:
                assert not out[place].any() and self.engine.activity(place) in (0, None)
                self.alone[place] = stream_from(self.model, self.engine.first_hop(place))
                continue
            expected = self.alone[place].process(block[place])
            np.testing.assert_array_equal(out[place], expected)
            assert self.engine.activity(place) == self.alone[place].activity
            self.heard = max(self.heard, float(np.abs(expected).max()))

    def break_state(self, place: int, value: float) -> None:
        self.engine._memories._memory[place, : self.engine._memories._used] = value


@given(
    name=st.sampled_from(NAMES),
    turns=st.lists(st.tuples(st.booleans(), st.integers(0, PLACES - 1)), min_size=1, max_size=12),
)
def test_each_stream_has_the_bits_that_it_has_alone(models, name, turns):
    twins = Twins(models, name)
    sound = noise(len(turns), PLACES, 7 * twins.hop, twins.channels)
    for pieces, (joins, place) in zip(sound, turns, strict=True):
        twins.join() if joins else twins.leave(place)
        assert set(twins.engine.places) == set(twins.alone)
        for begin in range(0, 7 * twins.hop, twins.hop):
            twins.process(np.ascontiguousarray(pieces[:, begin : begin + twins.hop]))
    assert twins.heard > 1e-3 or not any(joins for joins, _ in turns)


@given(name=st.sampled_from(NAMES), turns=st.lists(st.sets(st.integers(0, PLACES - 1)), min_size=8, max_size=30))
def test_streams_may_stand_still(models, name, turns):
    twins = Twins(models, name)
    for _ in range(PLACES):
        twins.join()
    for block, places in zip(noise(len(turns), PLACES, twins.hop, twins.channels), turns, strict=True):
        twins.process(block, places)
    assert twins.heard > 1e-4 or sum(map(len, turns)) < 20


@given(
    name=st.sampled_from(NAMES),
    turns=st.lists(st.lists(st.integers(0, PLACES - 1), max_size=17), min_size=4, max_size=8),
    mixed=st.booleans(),
)
def test_streams_may_go_on_by_several_hops_at_once(models, name, turns, mixed):
    twins = Twins(models, name)
    for _ in range(PLACES):
        twins.join()
    for places in turns:
        places = places if mixed else sorted(places)
        sound = noise(len(places), twins.hop, twins.channels)
        out = twins.engine.step(places, sound)
        for place, hop, made in zip(places, sound, out, strict=True):
            np.testing.assert_array_equal(made, twins.alone[place].process(hop))
        for place in set(places):
            assert twins.engine.activity(place) == twins.alone[place].activity


@pytest.mark.parametrize("name", ["plain", "slow", "odd sizes"])
@pytest.mark.parametrize("streams", [1, 2, 70])
def test_more_hops_than_go_through_the_network_together(models, name, streams):
    engine, model = engine_and_model(models, name, streams)
    alone = {place: stream_from(model, engine.first_hop(place)) for place in (engine.join() for _ in range(streams))}
    draw = np.random.default_rng(streams)
    for _ in range(3):
        places = draw.integers(streams, size=100).tolist()
        sound = noise(len(places), engine.hop, engine.channels)
        for place, hop, made in zip(places, sound, engine.step(places, sound), strict=True):
            np.testing.assert_array_equal(made, alone[place].process(hop))


@pytest.mark.parametrize("name", ["plain", "recurrent"])
def test_after_a_fault_silence_lasts_until_the_end_of_what_was_handed_over(models, name):
    twins = Twins(models, name)
    twins.join(), twins.join()
    twins.break_state(0, np.nan)
    places = [0, 1, 0, 1, 0, 1, 0, 1]
    sound = noise(8, twins.hop, twins.channels)
    out = twins.engine.step(places, sound)
    assert not out[::2].any() and twins.engine.faults(0) == 1
    np.testing.assert_array_equal(np.concatenate(out[1::2]), twins.alone[1].process(np.concatenate(sound[1::2])))
    twins.alone[0] = stream_from(twins.model, 0)
    for _ in range(3):
        twins.process(noise(PLACES, twins.hop, twins.channels))


@given(
    name=st.sampled_from(NAMES),
    faults=st.lists(
        st.tuples(
            st.integers(0, PLACES - 1),
            st.sampled_from([*BAD, "state"]),
            st.sampled_from([np.nan, np.inf, -np.inf]),
            st.integers(0, 6),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_a_fault_is_its_own(models, name, faults):
    twins = Twins(models, name)
    for _ in range(PLACES):
        twins.join()
    counts = dict.fromkeys(range(PLACES), 0)
    draw = np.random.default_rng(0)
    for place, kind, value, hops in faults:
        block = noise(PLACES, twins.hop, twins.channels)
        if kind == "state":
            twins.break_state(place, value)
            counts[place] += 1
        else:
            block[place, draw.integers(twins.hop), draw.integers(twins.channels)] = BAD[kind]
        twins.process(block, broken=place if kind == "state" else None)
        for _ in range(hops):
            twins.process(noise(PLACES, twins.hop, twins.channels))
    assert {place: twins.engine.faults(place) for place in range(PLACES)} == counts
    assert twins.heard > 1e-3 or len(faults) < 3


@pytest.mark.parametrize("name", ["plain", "recurrent", "slow", "denoise"])
def test_a_stream_whose_state_was_broken_recovers(models, name):
    twins = Twins(models, name)
    for _ in range(PLACES):
        twins.join()
    for broken in (2, None, None, 2, None, None, None, None):
        if broken is not None:
            twins.break_state(broken, np.nan)
        twins.process(noise(PLACES, twins.hop, twins.channels), broken=broken)
    assert twins.engine.faults(2) == 2 and twins.heard > 1e-3


@pytest.mark.parametrize("name", ["slow", "denoise"])
def test_slow_parts_are_spread_over_the_hops(models, name):
    engine, model = engine_and_model(models, name, 12)
    rate = model.spec.slow_rate
    places = [engine.join() for _ in range(12)]
    assert rate == 4 and [engine.first_hop(place) for place in places] == [0, 1, 2, 3] * 3
    for _ in range(3):
        engine.process(noise(12, engine.hop, engine.channels))
    for place in places:
        if engine.first_hop(place) == 2:
            engine.leave(place)
    again = [engine.join() for _ in range(3)]  # three hops later: in the gap that these have left
    assert [engine.first_hop(place) for place in again] == [(2 + 3) % 4] * 3


def test_where_in_the_round_a_stream_begins_does_not_change_what_it_does(models):
    """On speech, after a second, what a phase changes is far below what the model takes away."""
    engine = engine_and_model(models, "denoise", 4)[0]
    sound = soundfile.read(Path(__file__).parents[1] / "data" / "demo.noisy.flac", dtype="float32")[0]
    hops = len(sound) // engine.hop
    for _ in range(4):
        engine.join()
    blocks = np.broadcast_to(sound[: hops * engine.hop].reshape(hops, 1, engine.hop, 1), (hops, 4, engine.hop, 1))
    out = np.concatenate([engine.process(np.ascontiguousarray(block)) for block in blocks], 1)[..., 0]
    late = engine.latency
    cut = slice(48_000, None)
    dry = sound[: hops * engine.hop - late]
    taken = dry[cut] - out[0, late:][cut]
    for other in out[1:, late:]:
        change = other[cut] - out[0, late:][cut]
        assert 0 < np.sum(change**2) < 0.02 * np.sum(taken**2)


def test_the_latency_is_that_of_whole_hops(models):
    engine, model = engine_and_model(models, "look-ahead")
    assert engine.latency == model.stream(block_multiple=model.spec.hop).latency


def test_what_cannot_be_is_refused(models):
    engine, model = engine_and_model(models, "plain", 2)
    assert (engine.join(), engine.join()) == (0, 1)
    with pytest.raises(InputError, match="All 2 streams"):
        engine.join()
    engine.leave(0)
    sound = noise(2, 16, 1)
    before = engine._memories._memory.copy()
    with pytest.raises(InputError, match="no stream at place 0"):
        engine.step([1, 0], sound)
    with pytest.raises(InputError, match="it must be float32"):
        engine.step([1], sound)
    np.testing.assert_array_equal(engine._memories._memory, before)
    assert engine.join() == 0
    for ask in (engine.leave, engine.activity, engine.faults, engine.first_hop):
        with pytest.raises(InputError, match="no stream at place 7"):
            ask(7)
    for wrong in (np.zeros((2, 16, 2), np.float32), np.zeros((2, 16, 1)), np.zeros((3, 16, 1), np.float32)):
        with pytest.raises(InputError, match="it must be float32"):
            engine.process(wrong)
    for number in (0, True, 1.5, 2000):
        with pytest.raises(InputError, match="whole number from 1 to 1024"):
            Engine(model, number)
    with pytest.raises(InputError, match="is not compiled"):
        Engine(models(Network()), 2)
