"""Slack 0 on a real, private JACK server: the network inside the callback, its delay to the sample, and its bits."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import Network
from servers import jack_server, probe
from tape import RING, Tape, carried, check_bits, noise, offline, wait

import rtsep
from rtsep.engine.enhance import BACKEND
from rtsep.engine.gate_settings import GateSettings
from rtsep.errors import InputError
from rtsep.live.backends.shared_state import FLAG_JOIN, FLAG_LATE
from rtsep.live.engine import governor
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(scope="session")
def finite_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Remembers less than a second, so that who takes over has the same state as who has heard all."""
    network = Network(hop=128, analysis_window=512, synthesis_window=256, activity=True)
    return str(network.save(tmp_path_factory.mktemp("live") / "finite.onnx"))


@pytest.mark.parametrize("period,added", [(128, 128), (256, 128), (64, 192), (480, 224), (100, 252)])
def test_delay_and_bits(random_model: str, period: int, added: int) -> None:
    """Synthesis window - hop, 2.67 ms, and no more where a block is whole hops; at most 255 samples elsewhere."""
    with jack_server(period), LiveEngine(LiveSettings(model=random_model, slack=0, ring=RING)) as live:
        assert live.added_samples == added and live.status()["slack"] == 0
        assert any(carried(live, noise(0.5, seed), period) for seed in range(4))
        assert live.status()["runs"] == 0 and live.status()["compute_ms"]["p50"]
        tape = Tape(live)
    check_bits(tape, offline(random_model, tape, int(np.gcd(period, 128))))
    assert tape.late == 0


@pytest.mark.parametrize("name,channels", [("denoise", 1), ("karaoke", 2)])
def test_bits_of_shipped_models(name: str, channels: int) -> None:
    """Faster than time, and without a gap: nothing is late where nobody is waited for."""
    sound = noise(4.0, 3)
    settings = LiveSettings(model=name, slack=0, ring=RING, channels=channels)
    with jack_server(256), LiveEngine(settings) as live:
        # What the network remembers of the silence before its first step, while it was compiled, is over by then.
        wait(lambda: live.block.state.position > 3 * 48000, seconds=60)
        probe(sound, "rtsep:in_0", "rtsep:out_0", "--freewheel")
        block, end = live.block, live.block.state.position
        heard, played = (block.samples_before(ring, end, end) for ring in (block.heard, block.played))
        assert block.state.late_blocks == block.state.step_faults == 0
    assert np.abs(heard).max() > 0.1
    stream = rtsep.load(name, BACKEND).stream(channels=channels, block_multiple=256)
    made = stream.process(np.ascontiguousarray(heard[: end // 256 * 256]))
    assert np.array_equal(played[: len(made)], made.reshape(len(made), -1))


def test_strength_is_that_of_a_stream(finite_model: str) -> None:
    """A limit from the start on, bit for bit, and another one while sound runs."""
    settings = LiveSettings(model=finite_model, slack=0, ring=RING, strength=12.0)
    with jack_server(128), LiveEngine(settings) as live:
        probe(noise(0.3, 1), "rtsep:in_0", "rtsep:out_0")
        state = live.block.state
        changed = state.position - 128  # the newest block may be on its way
        assert np.array_equal(
            live.block.samples_before(live.block.played, changed, changed), limited(live, 12.0, changed)
        )
        live.set_strength(0.0)
        assert wait(lambda: state.step_gain[0] == 1.0)
        silent = state.position
        probe(noise(0.3, 2), "rtsep:in_0", "rtsep:out_0")
        end = state.position - 128
        count = min(end - silent, RING // 2) - 128
        played = live.block.samples_before(live.block.played, end, count)
        assert np.array_equal(played, live.block.samples_before(live.block.heard, end - 128, count))  # as it came in
        assert played.any() and state.late_blocks == 0
        assert live.status()["activity"] is not None


def limited(live: LiveEngine, strength: float, end: int) -> np.ndarray:
    """What a Stream makes of all that was heard before ``end``."""
    heard = live.block.samples_before(live.block.heard, end, end)
    return rtsep.load(live.model.path, BACKEND).stream(strength=strength, block_multiple=128).process(heard)


def test_from_the_callback_to_the_worker_and_back(finite_model: str) -> None:
    """Every block is one or the other to the bit, or a join of the two that begins where the last sample was."""
    with jack_server(128), LiveEngine(LiveSettings(model=finite_model, slack=0, ring=RING)) as live:
        player = threading.Thread(target=probe, args=(noise(5.0, 5), "rtsep:in_0", "rtsep:out_0"))
        player.start()
        block, sizes = live.block, []
        wait(lambda: block.samples_before(block.heard, block.state.position, 128).any())
        for slack in (1, 2, 0, 1, 0):
            before = block.state.position
            assert wait(lambda before=before: block.state.position > before + 4096)
            live.set_slack(slack)
            assert wait(lambda slack=slack: live.slack == slack)
            sizes.append(live.added_samples)
        player.join()
        tape = Tape(live)
        told = [sentence for _, sentence in live.events]
    assert sizes == [256, 384, 128, 256, 128]
    assert sum("in a worker now, with slack 1; the delay is 5.3 ms" in sentence for sentence in told) == 2
    assert sum("inside the callback now, with slack 0; the delay is 2.7 ms" in sentence for sentence in told) == 2
    tape.delay = 0
    made = offline(finite_model, tape, 128)
    wanted = [np.concatenate([np.zeros(delay, np.float32), made])[: tape.end] for delay in (0, 128, 256)]
    other = set.intersection(*(tape.differing(each) for each in wanted))
    assert other <= tape.flagged(FLAG_JOIN) | tape.flagged(FLAG_LATE)
    assert all(tape.differing(each) > other for each in wanted)  # each was played somewhere
    joins = sorted(tape.flagged(FLAG_JOIN))
    begins = [begin for begin in joins if begin - 128 not in joins]
    assert 5 <= len(begins) < 20 + 2 * tape.late
    assert all(abs(tape.played[begin] - tape.played[begin - 1]) < 1e-6 for begin in begins)


def test_a_faulty_network_is_not_heard_and_leaves_the_callback(tmp_path: Path) -> None:
    network = Network(hop=128, analysis_window=512, synthesis_window=256)
    network.weights["decoder"] = np.full_like(network.weights["decoder"], np.nan)
    model = str(network.save(tmp_path / "nan.onnx"))
    with jack_server(128), LiveEngine(LiveSettings(model=model, slack=0, ring=RING)) as live:
        assert wait(lambda: live.slack == 1)
        probe(noise(0.3, 1), "rtsep:in_0", "rtsep:out_0")
        assert live.restarts == {"worker": 0, "device": 0}
        assert any("failed inside the callback" in sentence for _, sentence in live.events)
        tape = Tape(live)
    assert np.isfinite(tape.played).all() and np.abs(tape.played).max() > 0.1  # the dry signal


def test_a_worker_that_dies_is_not_missed(random_model: str) -> None:
    with jack_server(128), LiveEngine(LiveSettings(model=random_model, slack=0, ring=RING)) as live:
        assert live.children.worker is not None
        live.children.worker.kill()
        assert wait(lambda: live.restarts["worker"] == 1)
        probe(noise(0.5, 1), "rtsep:in_0", "rtsep:out_0")
        tape = Tape(live)
    assert tape.late == 0
    check_bits(tape, offline(random_model, tape, 128))


def test_a_device_at_another_rate_or_a_gate_gets_the_worker(finite_model: str) -> None:
    with jack_server(128, 44100), LiveEngine(LiveSettings(model=finite_model, slack=0)) as live:
        assert live.slack == 2 and "runs at 44100 Hz and the model at 48000 Hz" in live.status()["slack_reason"]
        assert any("in a worker, with slack 2" in sentence for _, sentence in live.events)
    settings = LiveSettings(model=finite_model, slack=0, gate=GateSettings(20.0))
    with jack_server(128), LiveEngine(settings) as live:
        assert live.slack == 2 and live.status()["slack_reason"] == "The gate needs the worker."
        with pytest.raises(InputError, match="gate needs the worker"):
            live.set_slack(0)


def test_what_has_no_step_of_its_own_gets_the_worker() -> None:
    with jack_server(128), LiveEngine(LiveSettings(model="mid-side", slack=0, channels=2)) as live:
        assert live.slack == 2 and "worker only" in live.status()["slack_reason"]


@pytest.mark.parametrize("portable", [False, True])
def test_what_is_not_compiled_runs_in_onnxruntime_in_the_worker_and_one_sentence_says_so(
    tmp_path: Path, portable: bool
) -> None:
    model = onnx.load(Network(hop=128, analysis_window=512, synthesis_window=256).save(tmp_path / "odd.onnx"))
    last = next(node for node in model.graph.node if "frames" in node.output)
    last.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("HardSwish", ["before"], ["frames"]))
    odd = str(tmp_path / "odd.onnx")
    onnx.save(model, odd)
    with jack_server(128), LiveEngine(LiveSettings(model=odd, slack=0, ring=RING, portable=portable)) as live:
        assert live.slack == 2
        probe(noise(0.5, 1), "rtsep:in_0", "rtsep:out_0")
        told = " ".join(sentence for _, sentence in live.events)
        tape = Tape(live)
    assert told.count("odd.onnx runs in onnxruntime: operator HardSwish is not compiled.") == 1
    assert told.count("The model runs in a worker, with slack 2.") == 1
    with pytest.warns(UserWarning, match="HardSwish"):
        check_bits(tape, offline(odd, tape, 128))


def test_auto_begins_inside_the_callback_and_not_again_there_where_it_was_killed(random_model: str) -> None:
    with jack_server(128), LiveEngine(LiveSettings(model=random_model, ring=RING)) as live:
        assert (live.slack, live.added_samples, live.status()["slack_reason"]) == (0, 128, None)
        probe(noise(0.3, 1), "rtsep:in_0", "rtsep:out_0")
        assert live.children.audio is not None
        live.children.audio.kill()
        assert wait(lambda: live.restarts["device"] == 1 and live.state == "running")
        assert (live.slack, live.added_samples) == (1, 256)
        probe(noise(0.3, 2), "rtsep:in_0", "rtsep:out_0")
        assert live.status()["runs"] > 0


def test_who_endangers_the_period_goes_to_the_worker_until_asked(
    finite_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged as users are, by callbacks that are taken for slow ones."""
    monkeypatch.undo()
    with jack_server(128), LiveEngine(LiveSettings(model=finite_model)) as live:
        monkeypatch.setattr(governor, "INSIDE_SHARE", 0.001)
        monkeypatch.setattr(governor, "SLOW_WINDOWS", 10**9)  # what comes after is another test's
        monkeypatch.setattr(governor, "HOPELESS_WINDOWS", 10**9)
        for times in (1, 2):
            assert wait(lambda: live.slack == 1)
            assert sum("slow for the model inside the callback" in sentence for _, sentence in live.events) == times
            assert live.added_samples == 256 and live.status()["slack"] == 1
            if times == 1:
                live.set_slack(0)
                assert wait(lambda: live.slack == 0)


def test_the_portable_way_gives_the_same_bits(random_model: str) -> None:
    """Where the worker is a thread of the audio process: inside the callback when asked, and only then."""
    with jack_server(96), LiveEngine(LiveSettings(model=random_model, portable=True, ring=RING, slack=0)) as live:
        assert (live.slack, live.added_samples) == (0, 256 - 32)
        probe(noise(0.5, 1), "rtsep:in_0", "rtsep:out_0")
        tape = Tape(live)
    check_bits(tape, offline(random_model, tape, 32))
    assert tape.late == 0
    with jack_server(128), LiveEngine(LiveSettings(model=random_model, portable=True)) as live:
        assert live.slack == 2 and "not started for it" in live.status()["slack_reason"]
