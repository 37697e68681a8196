"""The callback's two kernels, driven block by block without a sound system: delay, bits, joins, bypass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsep.live.backends import callbacks
from rtsep.live.backends.callbacks import PING_VARIANT, WAIT_VARIANT
from rtsep.live.backends.live_callback import put_out, take_in
from rtsep.live.backends.shared_state import FLAG_JOIN, FLAG_LATE, SharedBlock

RATE = 48000
LATENCY = 128


class Rig:
    """A shared block, a pretended worker whose result is ``gain`` x the delayed input, and a log of flags."""

    def __init__(self, size: int = 128, slack: int = 2, gain: float = 0.5, length: int = 1 << 15) -> None:
        self.block = SharedBlock.create(1, length)
        self.block.configure(RATE, size, slack * size)
        self.state, self.gain = self.block.state, gain
        self.state.stream_latency = LATENCY
        self.flags: list[tuple[int, int]] = []

    def work(self) -> None:
        """Everything heard so far, at once."""
        block, end = self.block, self.state.position
        at = np.arange(self.state.processed, end)
        block.results[:, at % block.length] = self.gain * block.heard[:, (at - LATENCY) % block.length]
        self.state.processed = end

    def call(self, sound: np.ndarray, works: bool = True) -> np.ndarray:
        out = np.full((len(sound), 1), np.nan, np.float32)
        block = self.block
        record = block.state.record
        take_in(record, block.heard, sound.astype(np.float32)[:, None])
        flags = put_out(record, block.heard, block.results, block.played, out)
        self.flags += [(flags, len(sound))]
        if works:
            self.work()
        return out[:, 0]

    def close(self) -> None:
        self.block.close()


def delayed(sound: np.ndarray, samples: int) -> np.ndarray:
    return np.concatenate([np.zeros(samples, np.float32), sound])[: len(sound)]


def sine(count: int, hertz: float = 200.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz / RATE * np.arange(count))).astype(np.float32)


@given(st.lists(st.integers(1, 128), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_any_blocks_up_to_the_announced_size_give_the_same_bits(sizes: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).standard_normal(sum(sizes)).astype(np.float32)
    rig = Rig(slack=1)
    parts = np.split(sound, np.cumsum(sizes)[:-1])
    out = np.concatenate([rig.call(part) for part in parts])
    rig.close()
    assert np.array_equal(out, np.float32(0.5) * delayed(sound, LATENCY + 128))
    assert rig.state.late_blocks == rig.state.lost_blocks == 0


@given(st.lists(st.booleans(), min_size=20, max_size=80), st.sampled_from([32, 64, 128, 256]), st.integers(1, 3))
def test_every_block_is_the_result_or_counted(works: list[bool], size: int, slack: int) -> None:
    sound = np.random.default_rng(1).standard_normal(size * len(works)).astype(np.float32)
    rig = Rig(size, slack)
    out = np.concatenate([rig.call(sound[k * size :][:size], on) for k, on in enumerate(works)])
    rig.close()
    dry = delayed(sound, LATENCY + slack * size)
    wanted = np.float32(0.5) * dry
    lost = late = 0
    for k, (flags, _) in enumerate(rig.flags):
        place = slice(k * size, (k + 1) * size)
        # Due is what was heard `slack` blocks ago; the worker has it if it ran once since.
        due = k - slack
        assert bool(flags & FLAG_LATE) == (due >= 0 and not any(works[due:k]))
        late += bool(flags & FLAG_LATE)
        lost += bool(flags & (FLAG_LATE | FLAG_JOIN))
        if not flags & (FLAG_LATE | FLAG_JOIN):
            assert np.array_equal(out[place], wanted[place])
        elif flags == FLAG_LATE:  # a long gap: the join has died away
            assert np.array_equal(out[place], dry[place])
    assert (rig.state.late_blocks, rig.state.lost_blocks) == (late, lost)


def test_a_late_block_makes_no_step() -> None:
    size, blocks = 128, 200
    sound = sine(size * blocks)
    rig = Rig(size)
    works = np.random.default_rng(2).random(blocks) > 0.3
    out = np.concatenate([rig.call(sound[k * size :][:size], on) for k, on in enumerate(works)])
    rig.close()
    assert rig.state.late_blocks > 5
    # The join takes at most |dry - wet| = 0.25 away within 96 samples, besides what the sound does itself.
    assert np.abs(np.diff(out)).max() <= np.abs(np.diff(sound)).max() + 0.26 / 96
    step = np.abs(np.diff(out))[np.arange(1, blocks) * size - 1]
    assert step.max() <= np.abs(np.diff(sound)).max() * 1.001


def test_bypass_a_thousand_times_without_a_click() -> None:
    size = 128
    rig = Rig(size)
    rng = np.random.default_rng(3)
    sound = sine(size * 6000)
    outs, toggles = [], 0
    for k in range(6000):
        if rng.random() < 0.2:
            rig.state.bypass_target = 1 - rig.state.bypass_target
            toggles += 1
        outs.append(rig.call(sound[k * size :][:size]))
    out = np.concatenate(outs)
    rig.close()
    assert toggles > 1000
    assert np.abs(np.diff(out)).max() <= np.abs(np.diff(sound)).max() * 1.001
    assert rig.state.late_blocks == 0


def test_bypass_is_the_delayed_input_bit_for_bit_and_back() -> None:
    size, rig = 128, Rig(128)
    sound = np.random.default_rng(4).standard_normal(size * 60).astype(np.float32)
    outs = []
    for k in range(60):
        rig.state.bypass_target = 1.0 if 20 <= k < 40 else 0.0
        outs.append(rig.call(sound[k * size :][:size], works=not 32 <= k < 38))  # late is no matter while bypassed
    out, dry = np.concatenate(outs), delayed(sound, LATENCY + 2 * size)
    rig.close()
    assert np.array_equal(out[: 20 * size], np.float32(0.5) * dry[: 20 * size])
    assert np.array_equal(out[28 * size : 40 * size], dry[28 * size : 40 * size])  # 20 ms are 7.5 blocks
    assert np.array_equal(out[48 * size :], np.float32(0.5) * dry[48 * size :])
    assert rig.state.late_blocks == 0


def test_more_slack_while_running_makes_no_step_and_is_then_exact() -> None:
    size, rig = 128, Rig(128, slack=1)
    sound = sine(size * 40)
    outs = []
    for k in range(40):
        if k == 20:
            rig.state.delay = 3 * size
        outs.append(rig.call(sound[k * size :][:size]))
    out = np.concatenate(outs)
    rig.close()
    assert np.array_equal(out[22 * size :], np.float32(0.5) * delayed(sound, LATENCY + 3 * size)[22 * size :])
    assert np.abs(out[20 * size] - out[20 * size - 1]) <= np.abs(np.diff(sound)).max()


def test_faulty_samples_become_harmless() -> None:
    rig = Rig(128)
    bad = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.25] + [0.0] * 122, np.float32)
    for _ in range(5):
        out = rig.call(bad)
        assert np.isfinite(out).all() and np.abs(out).max() <= 8
    rig.close()


def test_mute_fades() -> None:
    rig = Rig(128, gain=1.0)
    rig.state.volume = rig.state.volume_target = 0.0
    ones = np.ones(128, np.float32)
    assert not np.concatenate([rig.call(ones) for _ in range(20)]).any()
    rig.state.volume_target = 1.0
    out = np.concatenate([rig.call(ones) for _ in range(200)])
    rig.close()
    assert np.diff(out).min() >= 0 and np.diff(out).max() <= 1.01 / (0.5 * RATE) and out[-1] == 1.0


@pytest.mark.parametrize("variant", ["", PING_VARIANT, WAIT_VARIANT, "capturing"])
def test_the_compiled_callback_allocates_nothing(variant: str) -> None:
    capturing = variant == "capturing"
    code = (callbacks.capturing if capturing else callbacks.LIVE_CALLBACKS[variant]).llvm()
    assert "NRT_MemInfo_alloc" not in code and "NRT_Allocate" not in code
    assert "fence seq_cst" in code and "pthread_mutex" not in code
    # What is only for measurements is not in the code that users run.
    assert ("usleep" in code) == (variant == WAIT_VARIANT)
    assert ("_play_ping" in code) == (variant == PING_VARIANT)


@pytest.mark.parametrize("channels,length", [(0, 1 << 14), (1, 1000), (9, 1 << 14)])
def test_a_block_of_impossible_shape_is_refused(channels: int, length: int) -> None:
    with pytest.raises(ValueError):
        SharedBlock.create(channels, length)
