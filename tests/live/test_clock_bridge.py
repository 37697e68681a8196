"""Two simulated clocks, ten simulated minutes: no ring runs empty or over, the delay stays, a tone stays a tone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from rtsep.live.backends.adaptive_resampler import read, steer
from rtsep.live.backends.clock_bridge import capture, cross
from rtsep.live.backends.clock_rates import nominal_rate
from rtsep.live.backends.resampler_table import table
from rtsep.live.backends.shared_state import HALF, RESAMPLER, SharedBlock

RATE = 48000.0
BLOCK = 128
TARGET = 3 * BLOCK


@njit
def simulate(state, taps, ring, ppm, jitter, out, lags, ratios):
    """Blocks of a tone in by a clock that is off by ``ppm`` and comes late now and then; blocks out by a true one."""
    mask = ring.shape[1] - 1
    true_rate = RATE * (1 + ppm * 1e-6)
    piece = np.zeros((BLOCK, 1), np.float32)
    written = 0
    arrived = 0.0
    for k in range(out.shape[0] // BLOCK):
        now = (k + 1) * BLOCK / RATE
        # The other device delivers whole blocks, the newest one a little after its time.
        while (written + BLOCK) / true_rate + jitter[(written // BLOCK) % len(jitter)] <= now:
            arrived = (written + BLOCK) / true_rate + jitter[(written // BLOCK) % len(jitter)]
            for i in range(BLOCK):
                ring[0, (written + i) & mask] = np.sin(2 * np.pi * 1000.0 / true_rate * (written + i))
            written += BLOCK
        if written < 8 * BLOCK:
            continue
        steer(state, written + (now - arrived) * RATE, float(TARGET), RATE, BLOCK / RATE)
        lags[k] = written - state.place
        read(state, taps, ring, 0, piece)
        out[k * BLOCK : (k + 1) * BLOCK] = piece[:, 0]
        ratios[k] = state.ratio


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_ten_minutes_of_drift(ppm: float) -> None:
    seconds = 600
    rng = np.random.default_rng(1)
    jitter = np.abs(rng.normal(0, 5e-5, 4099)) + (rng.random(4099) < 0.002) * 2e-3  # and now and then 2 ms late
    count = int(seconds * RATE) // BLOCK * BLOCK
    state, out = resampler(nominal=1.0), np.zeros(count, np.float32)
    lags, ratios = np.full(count // BLOCK, np.nan), np.full(count // BLOCK, np.nan)
    simulate(state, table(), np.zeros((1, 1 << 13), np.float32), ppm, jitter, out, lags, ratios)
    seen = ~np.isnan(lags)
    # What is read is always there (HALF ahead of the last place of a block), and the ring never fills.
    assert lags[seen].min() > BLOCK + HALF and lags[seen].max() < 6 * BLOCK
    settled = slice(len(lags) // 10, None)
    assert np.ptp(lags[settled]) < 2.2 * BLOCK  # sawtooth of the blocks and of a late one; it does not grow
    assert np.abs(1e6 * (ratios[settled] - 1) - ppm).max() < 20
    assert 1e6 * state.integral == pytest.approx(ppm, abs=10)
    # The tone: its frequency by the true clock, and everything else far below it.
    tail = out[-(1 << 18) :].astype(np.float64) * np.blackman(1 << 18)
    power = np.abs(np.fft.rfft(tail)) ** 2
    peak = int(np.argmax(power))
    near = power[peak - 40 : peak + 41].sum()
    assert peak * RATE / (1 << 18) == pytest.approx(1000.0, abs=0.2)
    assert 10 * np.log10((power.sum() - near) / near) < -70


def test_without_drift_a_whole_place_is_nearly_the_sample_itself() -> None:
    rng = np.random.default_rng(2)
    spectrum = np.fft.rfft(rng.standard_normal(4096))
    spectrum[int(0.8 * len(spectrum)) :] = 0  # up to 19 kHz
    ring = np.fft.irfft(spectrum).astype(np.float32)[None]
    state = resampler(place=1000.0, ratio=1.0)
    out = np.zeros((512, 1), np.float32)
    read(state, table(), ring, 0, out)
    assert np.abs(out[:, 0] - ring[0, 1000:1512]).max() < 1e-3 * np.abs(ring).max()
    assert state.place == 1512.0


def resampler(**values: float) -> np.record:
    """A resampler's record with these values."""
    record = np.zeros(1, RESAMPLER).view(np.recarray)[0]
    for name, value in values.items():
        setattr(record, name, value)
    return record


class Clocks:
    """Two devices by clocks of their own, on a real block and the real kernels: one catches, the other crosses."""

    def __init__(self, in_rate: float, out_rate: float, in_size: int, out_size: int) -> None:
        self.block = SharedBlock.create(1, 1 << 14)
        self.state, self.clocks = self.block.state, self.block.clocks
        self.block.configure(nominal_rate(round(out_rate)), out_size, 2 * out_size)
        self.clocks.rate, self.clocks.margin = nominal_rate(round(in_rate)), round(0.002 * in_rate)
        self.block.taps[:] = table(self.clocks.rate / self.state.rate)
        self.rates, self.sizes, self.counts = (in_rate, out_rate), (in_size, out_size), [0, 0]
        self.rng = np.random.default_rng(3)

    def run(self, seconds: float, sound: np.ndarray, stall: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """The output for ``sound`` by the input's clock, which gives none in ``stall``; callbacks up to 1 ms late."""
        outs, piece = [], np.zeros((self.sizes[1], 1), np.float32)
        times = [(k + 1) * self.sizes[1] / self.rates[1] for k in range(int(seconds * self.rates[1] / self.sizes[1]))]
        late = self.rng.uniform(0, 0.001, len(times) + 100000)
        for k, due in enumerate(times):
            while True:
                caught = self.counts[0]
                arrives = (caught + 1) * self.sizes[0] / self.rates[0] + late[len(times) + caught % 100000]
                if stall[0] < arrives < stall[1]:
                    arrives = stall[1]  # all that was held up comes at once
                if arrives > due + late[k]:
                    break
                part = sound[caught * self.sizes[0] :][: self.sizes[0], None]
                capture(self.clocks.record, self.block.captured, part, 0, int(arrives * 1e9))
                self.counts[0] += 1
            block = self.block
            records = (block.state.record, block.clocks.record, block.resampler.record)
            cross(*records, block.captured, block.taps, piece, int((due + late[k]) * 1e9))
            outs.append(piece[:, 0].copy())
        return np.concatenate(outs)


def tone(seconds: float, rate: float, hertz: float = 1000.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz / rate * np.arange(int(seconds * rate) + 48000))).astype(np.float32)


def impurity_db(sound: np.ndarray) -> float:
    """What is not the strongest tone, against it."""
    power = np.abs(np.fft.rfft(sound.astype(np.float64) * np.blackman(len(sound)))) ** 2
    peak = int(np.argmax(power))
    near = power[max(0, peak - 40) : peak + 41].sum()
    return float(10 * np.log10((power.sum() - near) / near))


@pytest.mark.parametrize(
    "in_rate,out_rate,in_size,out_size",
    [
        (48009.6, 48000.0, 128, 128),
        (47990.4, 48000.0, 480, 128),
        (44100.0, 48000.0, 64, 480),
        (16000.5, 48000.0, 160, 128),
    ],
)
def test_what_crosses_is_whole(in_rate: float, out_rate: float, in_size: int, out_size: int) -> None:
    """Any two block sizes and rates: nothing runs out, nothing slips, a tone stays pure, and the delay is as stated."""
    clocks = Clocks(in_rate, out_rate, in_size, out_size)
    sound = tone(40, in_rate)
    out = clocks.run(40, sound)
    assert (clocks.clocks.underruns, clocks.clocks.slips) == (0, 0)
    assert impurity_db(out[-(1 << 17) :]) < -60
    # What lies between: a block of each, the taps and 2 ms.
    assert clocks.clocks.target == int(
        in_size + out_size * clocks.clocks.rate / clocks.state.rate + HALF + round(0.002 * in_rate)
    )
    place = clocks.block.resampler.place
    reached = len(out) / out_rate * in_rate + out_size / out_rate * in_rate
    assert abs(reached - place - clocks.clocks.target) < 0.0025 * in_rate + out_size * in_rate / out_rate
    clocks.block.close()


def test_an_input_that_stalls_is_silence_without_a_step_and_then_the_stated_delay() -> None:
    clocks = Clocks(48000.0, 48000.0, 128, 128)
    out = clocks.run(6, tone(6, 48000, 200.0), stall=(3.0, 3.1))
    assert clocks.clocks.underruns >= 1 and clocks.clocks.slips >= 1 and clocks.clocks.empty == 0
    assert not out[int(3.06 * 48000) : int(3.09 * 48000)].any()
    # No step: 0.5 x 200 Hz moves by 0.0131 a sample, and a join of 96 samples takes at most 1.0 away.
    assert np.abs(np.diff(out)).max() < 0.0132 + 1.05 / 96
    assert impurity_db(out[-(1 << 16) :]) < -60
    place, reached = clocks.block.resampler.place, len(out) + 128
    assert abs(reached - place - clocks.clocks.target) < 48 + 128
    assert clocks.clocks.target <= 2 * 128 + HALF + 0.030 * 48000  # the margin may have grown, but within its bounds
    clocks.block.close()


@given(
    st.integers(32, 1024), st.integers(32, 1024), st.floats(-300, 300), st.sampled_from([16000, 44100, 48000, 96000])
)
def test_any_blocks_and_rates(in_size: int, out_size: int, ppm: float, in_rate: int) -> None:
    clocks = Clocks(in_rate * (1 + ppm * 1e-6), 48000.0, in_size, out_size)
    out = clocks.run(3, tone(3, in_rate))
    assert clocks.clocks.underruns == clocks.clocks.slips == 0
    assert impurity_db(out[-(1 << 16) :]) < -45  # the loop has not settled yet
    clocks.block.close()
