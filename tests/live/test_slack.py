"""What decides about slack, without sound: the governor, where the model begins to run, denormals in the callback."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import cfunc, njit, types

from rtsep.engine.compiled.memory import call_step
from rtsep.engine.enhance import BACKEND
from rtsep.engine.gate_settings import GateSettings
from rtsep.errors import InputError
from rtsep.live.backends import denormals
from rtsep.live.backends.callback_steps import run_steps
from rtsep.live.backends.shared_state import FLAG_XRUN, LOG_ROW, SharedBlock
from rtsep.live.backends.step_keeper import StepKeeper
from rtsep.live.choices import parse_slack
from rtsep.live.engine.governor import DRY, MAX_SLACK, WINDOW_S, Governor, caused_xruns, window_s
from rtsep.live.engine.live_engine import LiveSettings
from rtsep.live.engine.slack_control import SlackControl
from rtsep.live.routing.devices import JACK
from rtsep.model import load

RATE = 48000


def verdicts(compute: np.ndarray, slack: int, late: float, may_change_slack: bool = True) -> list[int | None]:
    """Of twelve windows alike, by blocks of 128 samples at 48 kHz."""
    governor = Governor(may_change_slack)
    return [governor.judge(compute, 2.67, slack, late) for _ in range(12)]


QUICK, SLOW, OVERLOADED = np.full(90, 0.5), np.full(90, 2.0), np.full(90, 3.0)
SLOW[::20] = 9.0


def test_the_governor_gives_slack_or_the_dry_signal() -> None:
    assert verdicts(QUICK, 2, 0.0) == [None] * 12
    assert Governor(True).judge(np.zeros(0), 2.67, 2, 0.0) is None
    # 9 ms are four blocks of 2.67 ms: one step there, after six windows, and again not before six more.
    assert verdicts(SLOW, 2, 0.05) == ([None] * 5 + [4]) * 2
    # No slack helps when a block's compute is longer than the block: the dry signal, after three windows.
    assert verdicts(OVERLOADED, 2, 0.6) == [None, None, DRY] * 4
    # A slack that was set is never touched; what still comes late then is only given up when it is a fifth.
    assert set(verdicts(SLOW, 2, 0.05, may_change_slack=False)) == {None}
    assert verdicts(QUICK, MAX_SLACK, 0.19) == [None] * 12
    assert verdicts(QUICK, MAX_SLACK, 0.21) == [None, None, DRY] * 4


def test_the_governor_of_a_network_inside_the_callback() -> None:
    """More than half a block for a second, in the slowest thousandth, and it goes to the worker with slack 1."""
    most = np.full(90, 1.3)
    assert verdicts(most, 0, 0.0) == [None] * 12
    most[7] = 1.4
    assert verdicts(most, 0, 0.0) == [None, None, None, 1] * 3
    assert verdicts(most, 0, 0.0, may_change_slack=False) == [None] * 12
    assert verdicts(OVERLOADED, 0, 0.0, may_change_slack=False) == [None, None, DRY] * 4


def test_xruns_that_the_callback_causes() -> None:
    calls = np.zeros(6, LOG_ROW)
    calls["began"] = 3_000_000 * np.arange(6)
    calls["ended"] = calls["began"] + 1_000_000
    calls["flags"][[1, 4]] = FLAG_XRUN  # not its own doing
    assert caused_xruns(calls, 128 / 48000) == 0
    calls["ended"][3] += 2_000_000
    assert caused_xruns(calls, 128 / 48000) == 1
    governor = Governor(may_change_slack=True)
    assert [governor.endangers(*each) for each in ((1, 0.0), (0, 5.0), (1, 10.5), (0, 11.0))] == [False] * 4
    assert governor.endangers(1, 20.0) and Governor(True).endangers(2, 0.0)


OPENED = {"step_ms": 0.4, "step_refusal": None, "host": JACK}


@pytest.mark.parametrize(
    "settings,device,rate,frames,slack,reason",
    [
        ({}, {}, RATE, 128, 0, None),
        ({}, {"step_ms": 0.94}, RATE, 128, 2, "takes 0.94 ms of a block's 2.67 ms"),
        ({}, {"step_ms": 0.94}, RATE, 512, 2, "takes 3.76 ms of a block's 10.67 ms"),
        ({}, {}, RATE, 64, 0, None),
        ({}, {"step_ms": 0.5}, RATE, 64, 2, "takes 0.50 ms of a block's 1.33 ms"),
        ({}, {"step_ms": 0.49, "host": "PulseAudio"}, RATE, 480, 0, None),
        ({}, {"step_ms": 0.51, "host": "PulseAudio"}, RATE, 480, 2, "takes 2.04 ms of a block's 10.00 ms"),
        ({}, {"step_ms": None}, RATE, 128, 2, "not started for it"),
        ({}, {}, 44100, 128, 2, "runs at 44100 Hz"),
        ({}, {"step_refusal": "No library."}, RATE, 128, 2, "No library."),
        ({"slack": 0}, {"step_ms": 9.0}, RATE, 128, 0, None),
        ({"slack": 0, "gate": GateSettings(20.0)}, {}, RATE, 128, 2, "gate needs the worker"),
        ({"slack": 1}, {}, RATE, 128, 1, None),
    ],
)
def test_where_the_model_begins_to_run(
    settings: dict[str, Any], device: dict[str, Any], rate: int, frames: int, slack: int, reason: str | None
) -> None:
    block = SharedBlock.create()
    block.state.step_hop = 128
    control = SlackControl(LiveSettings(**settings), RATE)
    control.attach(block)
    control.decide(OPENED | device, rate, frames)
    control.set_place()
    assert control.slack == slack and not control.rests
    assert (control.refusal is None) == (reason is None) and (reason or "") in (control.refusal or "")
    state = block.state
    assert (state.inside, state.step_wanted, state.worker_paused) == ((1, 1, 1) if slack == 0 else (0, 0, 0))
    control.decide(OPENED | {"step_ms": 0.1}, RATE, 128)  # who has gone to the worker stays there
    assert control.slack == slack
    block.close()


def test_which_audio_systems_get_a_step() -> None:
    assert SlackControl(LiveSettings(slack=0), RATE).step_hosts is None
    hosts = SlackControl(LiveSettings(), RATE).step_hosts
    assert hosts is not None and set(hosts) == {JACK, "ALSA", "PulseAudio", "PipeWire"}
    for settings in (LiveSettings(slack=2), LiveSettings(gate=GateSettings(20.0))):
        assert SlackControl(settings, RATE).step_hosts == []
    assert SlackControl(LiveSettings(), RATE, portable=True).step_hosts == []


@pytest.mark.parametrize(
    "host,name,slack", [(JACK, "system", 1), ("ALSA", "USB (hw:1,0)", 1), ("ALSA", "pulse", 2), ("PipeWire", "mic", 2)]
)
def test_a_worker_that_takes_over_gets_one_period_or_two_where_they_come_in_bursts(
    host: str, name: str, slack: int
) -> None:
    block = SharedBlock.create()
    control = SlackControl(LiveSettings(slack=0), RATE)
    control.attach(block)
    control.decide(OPENED | {"host": host, "input": name, "output": name}, RATE, 128)
    assert control.worker_slack == slack
    control.leave_callback()
    assert control.slack == slack and not block.state.inside
    block.close()


@pytest.mark.parametrize("text,slack", [(None, None), ("auto", None), ("0", 0), ("3", 3), (3, 3)])
def test_slack_from_the_command_line(text: Any, slack: int | None) -> None:
    assert parse_slack(text) == slack
    with pytest.raises(InputError, match="auto or a number"):
        parse_slack("few")


def test_the_governor_forgives_a_burst_of_other_work() -> None:
    governor = Governor(may_change_slack=True)
    bursts = [SLOW] * 5 + [QUICK] + [SLOW] * 5 + [QUICK] + [OVERLOADED] * 2 + [QUICK] + [OVERLOADED] * 2
    assert [governor.judge(compute, 2.67, 2, 0.0) for compute in bursts] == [None] * len(bursts)


def test_a_window_is_a_quarter_of_a_second_or_four_blocks() -> None:
    assert window_s(128 / 48000) == WINDOW_S == 0.25 and window_s(8192 / 48000) == 4 * 8192 / 48000


@cfunc(types.int32(types.int64, types.CPointer(types.float32), types.CPointer(types.float32)))
def _square(context, source, target):
    """A step of one sample: its square."""
    target[0] = source[0] * source[0]
    return 0


@njit
def _squares(address, small, out):
    """By steps as the callback makes them: flushed, and not."""
    before = denormals.flush()
    call_step(address, 0, small.ctypes.data, out.ctypes.data)
    denormals.restore(before)
    call_step(address, 0, small.ctypes.data, out[1:].ctypes.data)


def test_denormals_are_zeros_between_flush_and_restore_and_nowhere_else() -> None:
    out = np.zeros(2, np.float32)
    _squares(_square.address, np.full(1, 1e-20, np.float32), out)
    assert out[0] == (0.0 if denormals._X86 else out[1])
    assert 0 < out[1] < 1.2e-38
    assert np.float32(1e-20) * np.float32(1e-20) > 0  # in this thread, as before


def test_changes_of_slack_wait_for_who_takes_over() -> None:
    block = SharedBlock.create()
    state, control = block.state, SlackControl(LiveSettings(slack=0), RATE)
    control.attach(block)
    state.step_hop = 128
    control.decide(OPENED, RATE, 128)
    block.configure(RATE, 128, 0)
    control.set_place()
    state.position, state.epoch = 100_000, 1
    control.change(1, now=0.0)
    assert control.changing and state.worker_paused == 0 and state.inside == state.step_wanted == 1
    assert not control.settle(0.1)  # the worker has not begun
    state.ready_epoch, state.processed, state.valid_from = 1, 99_000, 52_000
    assert not control.settle(0.2) and control.slack == 0
    state.processed = 99_900
    assert control.settle(0.3) and control.slack == 1 and not control.changing
    assert (state.inside, state.step_wanted, state.delay) == (0, 0, 128)
    control.change(0, now=1.0)
    assert state.step_wanted == 1 and not control.settle(1.1) and state.inside == 0
    state.step_running, state.step_taken = 1, 99_904
    assert control.settle(1.2) and (state.inside, state.worker_paused, state.delay) == (1, 1, 0)
    control.change(1, now=1.3)
    state.processed = 100_000
    assert control.settle(1.4)
    state.step_running = 0  # a machine that never catches up leaves it where it is, and is judged there again
    control.change(0, now=1.5)
    assert not control.settle(3.4) and control.changing
    assert not control.settle(3.6) and not control.changing
    assert (control.slack, state.inside, state.step_wanted, state.worker_paused) == (1, 0, 0, 0)
    assert control.refusal == "This machine is too busy for that."
    control.change(0, now=3.7)
    state.step_running = 1
    assert control.settle(3.8)
    state.epoch = 2  # a worker that is not there keeps nobody waiting for ever
    control.change(2, now=4.0)
    assert not control.settle(5.9) and control.settle(6.1) and control.slack == 2
    block.close()


def test_steps_that_were_stalled_for_longer_than_the_ring_begin_anew(random_model: str) -> None:
    """What lies in the ring then is another sound: it is not taken for the one that was missed."""
    block = SharedBlock.create(1, 1 << 14)
    state = block.state
    keeper = StepKeeper(block, load(random_model, BACKEND))
    assert keeper.refusal is None and 0 < keeper.step_ms < 100
    block.configure(RATE, 128, 0)
    state.epoch = state.step_wanted = state.step_busy = 1
    keeper.look()
    assert not state.step_running  # who is in a step, perhaps for ever, keeps nobody waiting
    state.step_busy = 0
    keeper.look()
    assert state.step_running
    block.heard[:] = 0.1 * np.random.default_rng(0).standard_normal(block.heard.shape)
    state.position = 1280
    run_steps(state.record, state.step_gain, block.heard, block.stepped, 4)
    assert state.step_taken == 512
    state.position = 512 + block.length // 2 + 128
    run_steps(state.record, state.step_gain, block.heard, block.stepped, 4)
    assert state.step_taken == 512 and state.step_position == 512
    keeper.look()
    assert not state.step_running
    keeper.look()
    assert state.step_running and state.position - state.step_taken < 128
    assert state.step_valid_from > block.length // 4
    block.close()
