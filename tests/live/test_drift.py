"""Two simulated clocks, ten simulated minutes: no ring runs empty or over, the delay stays, a tone stays a tone."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from rtsep.live.drift import HALF, PLACE, RATIO, STATE, drift_ppm, read, steer, table

RATE = 48000.0
BLOCK = 128
TARGET = 3 * BLOCK


@njit
def simulate(state, taps, ring, ppm, jitter, out, lags, ratios):
    """Blocks of a tone in by a clock that is off by ``ppm`` and comes late now and then; blocks out by a true one."""
    mask = ring.shape[1] - 1
    true_rate = RATE * (1 + ppm * 1e-6)
    piece = np.zeros((1, BLOCK), np.float32)
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
        lags[k] = written - state[PLACE]
        read(state, taps, ring, 0, piece)
        out[k * BLOCK : (k + 1) * BLOCK] = piece[0]
        ratios[k] = state[RATIO]


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_ten_minutes_of_drift(ppm: float) -> None:
    seconds = 600
    rng = np.random.default_rng(1)
    jitter = np.abs(rng.normal(0, 5e-5, 4099)) + (rng.random(4099) < 0.002) * 2e-3  # and now and then 2 ms late
    count = int(seconds * RATE) // BLOCK * BLOCK
    state, out = np.zeros(STATE), np.zeros(count, np.float32)
    lags, ratios = np.full(count // BLOCK, np.nan), np.full(count // BLOCK, np.nan)
    simulate(state, table(), np.zeros((1, 1 << 13), np.float32), ppm, jitter, out, lags, ratios)
    seen = ~np.isnan(lags)
    # What is read is always there (HALF ahead of the last place of a block), and the ring never fills.
    assert lags[seen].min() > BLOCK + HALF and lags[seen].max() < 6 * BLOCK
    settled = slice(len(lags) // 10, None)
    assert np.ptp(lags[settled]) < 2.2 * BLOCK  # sawtooth of the blocks and of a late one; it does not grow
    assert np.abs(1e6 * (ratios[settled] - 1) - ppm).max() < 20
    assert drift_ppm(state) == pytest.approx(ppm, abs=10)
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
    state = np.zeros(STATE)
    state[PLACE], state[RATIO] = 1000.0, 1.0
    out = np.zeros((1, 512), np.float32)
    read(state, table(), ring, 0, out)
    assert np.abs(out[0] - ring[0, 1000:1512]).max() < 1e-3 * np.abs(ring).max()
    assert state[PLACE] == 1512.0
