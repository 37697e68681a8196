"""Every kernel against a slow numpy twin; the kernels' cache where there is no place for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rtsep
from rtsep.engine import framing

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
SEEDS = st.integers(0, 2**32 - 1)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(
    block=st.integers(1, 3).flatmap(lambda c: arrays(np.float32, (20, c), elements=FLOATS)),
    count=st.integers(0, 20),
    at=st.integers(0, 10**12),
    double=st.booleans(),
    more=st.integers(0, 2),
)
def test_take(block, count, at, double, more):
    block = block.astype(np.float64) if double else block
    ring = noise(0, block.shape[1] + more, 32)
    expected = ring.copy()
    clean = np.clip(np.where(np.isfinite(block), block, 0), -8, 8)
    clean = np.concatenate([clean, *[clean[:, -1:]] * more], axis=1)  # the last channel again
    expected[:, (at + np.arange(count)) % 32] = clean[:count].T
    framing.take(block, count, ring, 31, at)
    np.testing.assert_array_equal(ring, expected)


def test_take_clamps_what_float32_cannot_hold():
    ring = np.zeros((1, 4), np.float32)
    framing.take(np.array([[1e300], [-1e300], [np.inf], [np.nan]]), 4, ring, 3, 0)
    assert ring.tolist() == [[8.0, -8.0, 0.0, 0.0]]


@given(seed=SEEDS, channels=st.integers(1, 3), length=st.integers(1, 32), end=st.integers(0, 10**12))
def test_push(seed, channels, length, end):
    ring = noise(seed, channels, 32)
    ring[:, ::5] *= 1e-16  # under TINY
    window = np.full((channels, length), 7, np.float32)
    expected = ring[:, (end - length + np.arange(length)) % 32]
    framing.push(ring, 31, end, window)
    np.testing.assert_array_equal(window, np.where(np.abs(expected) < 1e-15, 0, expected))


@given(
    seed=SEEDS,
    dilations=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    kernel=st.integers(2, 4),
    hops=st.integers(1, 40),
    hidden=st.integers(1, 5),
)
def test_gather_and_scatter(seed, dilations, kernel, hops, hidden):
    """The rings give back exactly the columns of (kernel-1)d, ..., d hops ago, zeros before the beginning."""
    reach, layers = kernel - 1, len(dilations)
    columns = noise(seed, hops, layers, hidden)
    dilation = np.array(dilations, np.int64)
    starts = np.cumsum(reach * dilation) - reach * dilation
    history = np.zeros((reach * int(dilation.sum()), hidden), np.float32)
    taps = np.empty((layers, reach, hidden), np.float32)
    for hop in range(hops):
        framing.gather(history, dilation, starts, hop, taps)
        for layer in range(layers):
            for tap in range(reach):
                past = hop - (reach - tap) * dilations[layer]
                expected = columns[past, layer] if past >= 0 else np.zeros(hidden)
                np.testing.assert_array_equal(taps[layer, tap], expected)
        framing.scatter(history, dilation, starts, hop, reach, columns[hop])


def test_nothing_tiny_or_broken_is_kept():
    one = np.array([1], np.int64)
    column = np.array([[1e-40, np.nan, -1e-20, 0.5, -2e-15]], np.float32)
    expected = np.array([0, 0, 0, 0.5, -2e-15], np.float32)
    history = np.ones((2, 5), np.float32)
    framing.scatter(history, one, 0 * one, 1, 2, column)
    np.testing.assert_array_equal(history, [np.ones(5), expected])
    state = column[0].copy()
    framing.settle(state)
    np.testing.assert_array_equal(state, expected)


@given(seed=SEEDS, hop=st.integers(1, 8), extra=st.integers(0, 17), hops=st.integers(1, 12), channels=st.integers(1, 2))
def test_overlap_add(seed, hop, extra, hops, channels):
    """Wherever the ring stands, what is complete equals the plain sum of all frames."""
    width, begin = hop + extra, -extra - 3
    frames = noise(seed, hops, 2, channels, width)
    rings = noise(seed + 1, 2, channels + 1, 32)  # what was there before must not matter, beyond the first overlap
    untouched = rings[:, 0].copy()
    rings[:, 1:, (begin + np.arange(extra)) % 32] = 0
    plain = np.zeros((2, channels, hops * hop + extra), np.float32)
    for h in range(hops):
        framing.overlap_add(frames[h], begin + h * hop, hop, rings, 31, 1)
        plain[..., h * hop : h * hop + width] += frames[h]
        complete = np.arange(h * hop, (h + 1) * hop)
        np.testing.assert_array_equal(rings[:, 1:][..., (begin + complete) % 32], plain[..., complete])
    np.testing.assert_array_equal(rings[:, 0], untouched)


@given(
    seed=SEEDS,
    count=st.integers(0, 20),
    at=st.integers(-30, 10**12),
    channels=st.integers(1, 3),
    now=st.sampled_from([0.0, 0.25, 1.0]),
    aim=st.sampled_from([0.0, 0.5, 1.0]),
    left=st.integers(0, 25),
)
def test_mix(seed, count, at, channels, now, aim, left):
    wet, ring = noise(seed, channels, 24), noise(seed + 1, channels, 64)
    change = (aim - now) / left if left else 0.0
    gain = np.array([now, aim, change, left], np.float64)
    out = np.full((24, channels), 7, np.float32)
    dry = ring[:, (at + np.arange(24)) % 64]
    g = now + change * np.arange(1, 25)
    g[max(0, left - 1) :] = aim if left else now
    framing.mix(wet, count, ring, 63, at, gain, out)
    expected = ((1 - g) * wet + g * dry).T
    np.testing.assert_allclose(out[:count], expected[:count], rtol=0, atol=1e-6)
    assert (out[count:] == 7).all()
    assert gain[3] == max(0, left - count)
    if left and count >= left:
        assert gain[0] == aim
    if not left and now in (0.0, 1.0):
        np.testing.assert_array_equal(out[:count], (dry if now else wet).T[:count])


SCRIPT = """
import sys
import numpy as np
from rtsep.engine import framing
from rtsep.engine.framing import push
window = np.zeros((1, 2), np.float32)
push(np.arange(4, dtype=np.float32)[None], 3, 4, window)
assert window.tolist() == [[2.0, 3.0]]
print(framing.__file__, push.stats.cache_path or "")
"""


@pytest.mark.parametrize("home", ["writable", "impossible"])
def test_a_package_folder_that_cannot_be_written_to_does_no_harm(tmp_path, home):
    """As in a read-only site-packages. Root may write anywhere, so a plain file stands where the folder would go."""
    package = tmp_path / "site" / "rtsep"
    source = Path(rtsep.__file__).parent
    (package / "engine").mkdir(parents=True)
    for name in (
        "__init__",
        "errors",
        "model",
        "model_spec",
        "engine/__init__",
        "engine/framing",
        "engine/limits",
        "engine/numba_cache",
        "engine/compile_notice",
        "engine/spectral_spec",
    ):
        shutil.copy(source / f"{name}.py", package / f"{name}.py")
    (package / "engine" / "__pycache__").touch()
    (tmp_path / "home").touch() if home == "impossible" else (tmp_path / "home").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA", "XDG", "PYTHON"))}
    environment |= {"HOME": str(tmp_path / "home"), "LOCALAPPDATA": str(tmp_path / "home")}
    command = [sys.executable, "-B", "-c", SCRIPT]
    done = subprocess.run(command, cwd=package.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(package) in done.stdout and not done.stderr
    assert (package / "engine" / "__pycache__").is_file()
    cached = list((tmp_path / "home").rglob("*.nbi")) if home == "writable" else []
    assert bool(cached) == (home == "writable")
