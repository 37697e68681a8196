"""The gate: shut it takes away what it says, open it changes no bit, and no word begins cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rtsep.cli import app
from rtsep.engine.enhance import Enhancer
from rtsep.engine.gate import ATTACK_S, RELEASE_S, Gated, GatedEnhancer
from rtsep.engine.gate_settings import GateSettings
from rtsep.errors import InputError

RATE, HOP = 48000, 128
# The newest hop's energy is what moves it: random features, but steep, so that it flips often.
FLIPS = Network(hop=HOP, analysis_window=512, synthesis_window=256, activity=True, seed=5)
FLIPS.weights["active"] *= 40


class Pretended:
    """A Stream that passes sound through, a hop late, and is active where it is told."""

    sample_rate, channels, latency, grain = RATE, 1, HOP, HOP
    strength: float | None = None
    activity: float | None = 0.0

    def __init__(self, active: np.ndarray) -> None:
        self.spec = type("Spec", (), {"activity": True, "name": "pretended"})
        self._active, self._hops = active, 0
        self._last = np.zeros(HOP, np.float32)

    until_hop = HOP

    def process(self, block: np.ndarray, out: np.ndarray) -> None:
        assert len(block) == HOP
        self._last, out[:] = block.copy(), self._last
        self.activity = float(self._active[self._hops])
        self._hops += 1


def gated(active: np.ndarray, **settings: float) -> tuple[np.ndarray, Gated]:
    gate = Gated(Pretended(active), GateSettings(**settings))  # type: ignore[arg-type]
    return gate.process(np.ones(len(active) * HOP, np.float32)), gate


def test_open_hold_release_and_nothing_cut() -> None:
    """20 dB; active in hops 100 to 149 (and, below the threshold, in some others)."""
    active = np.full(400, 0.2)
    active[100:150] = 0.9
    out, gate = gated(active, floor=20.0, hold=0.1)
    floor = np.float32(0.1)
    assert gate.latency == HOP
    assert np.allclose(out[HOP : 100 * HOP], floor, atol=1e-6)
    # The hop that opens it comes out one hop later, and by then the gate is open: all of it at full level, bit for bit.
    assert ATTACK_S * RATE < HOP
    assert np.array_equal(out[101 * HOP : 150 * HOP], np.ones(49 * HOP, np.float32))
    shut = 150 * HOP + round(0.1 * RATE)
    assert np.array_equal(out[150 * HOP : shut - HOP], np.ones(shut - 151 * HOP, np.float32))
    assert np.allclose(out[shut + round(RELEASE_S * RATE) + HOP :], floor, atol=1e-6)
    assert np.abs(np.diff(out[HOP:])).max() < 1.01 * 0.9 / (ATTACK_S * RATE)  # ramps, no click
    assert gate.gain == pytest.approx(0.1)


def test_an_open_gate_stays_open_at_less_than_what_opens_it() -> None:
    active = np.full(300, 0.35)
    assert gated(active, floor=20.0)[0].max() < 0.11
    active[10] = 0.5
    assert gated(active, floor=20.0)[0][-1] == 1.0
    active[20:] = 0.29
    assert gated(active, floor=20.0, hold=0.0)[0][-1] == pytest.approx(0.1)


def test_lookback_is_latency_and_opens_before_the_sound() -> None:
    """A detector that is 3 hops late cuts a word without it, and nothing with 8 ms of it."""
    active = np.zeros(300)
    active[103:150] = 1.0  # the word begins in hop 100
    out, gate = gated(active, floor=60.0, lookback=0.008)
    back = 384
    assert gate.latency == HOP + back
    assert np.array_equal(out[100 * HOP + gate.latency : 150 * HOP], np.ones(50 * HOP - gate.latency, np.float32))
    assert gated(active, floor=60.0)[0][101 * HOP : 103 * HOP].max() < 0.01


@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.sampled_from([1, 64, 128]), st.booleans())
def test_blocks_make_no_difference(models, sizes: list[int], grain: int, resampled: bool) -> None:
    """A real model whose activity flips: any blocks, the same bits."""
    model = models(FLIPS)
    rate = 44100 if resampled and grain == 1 else None
    sizes = [size * grain for size in sizes]
    sound = np.random.default_rng(0).standard_normal(sum(sizes)).astype(np.float32)
    settings = GateSettings(30.0, hold=0.0, lookback=0.003)
    whole = Gated(model.stream(rate, block_multiple=grain), settings).process(sound)
    gate = Gated(model.stream(rate, block_multiple=grain), settings)
    assert np.array_equal(
        np.concatenate([gate.process(part) for part in np.split(sound, np.cumsum(sizes)[:-1])]), whole
    )


def test_it_follows_the_models_own_activity(models) -> None:
    stream = models(FLIPS).stream(block_multiple=HOP)
    gate = Gated(models(FLIPS).stream(block_multiple=HOP), GateSettings(40.0, hold=0.0))
    sound = np.random.default_rng(1).standard_normal((400, HOP)).astype(np.float32)
    heard, opened = [], []
    for hop in sound:
        wet, out = stream.process(hop), gate.process(hop)
        heard.append(stream.activity or 0.0)
        opened.append(bool(np.array_equal(out, wet)))
        assert gate.activity == stream.activity
    flips = np.diff(np.array(heard) > 0.5).astype(bool).sum()
    assert flips > 10 and any(opened) and not all(opened)
    gate.reset()
    assert gate.gain == pytest.approx(0.01)


def test_a_model_that_says_nothing_and_settings_that_make_no_sense(models) -> None:
    with pytest.raises(InputError, match="leave --gate out"):
        Gated(models(Network(hop=HOP, analysis_window=512, synthesis_window=256)).stream(), GateSettings(20.0))
    for values in ({"floor": -1.0}, {"floor": math.inf}, {"floor": 20.0, "open": 0.0}, {"floor": 20.0, "hold": 11.0}):
        with pytest.raises(InputError):
            GateSettings(**values)
    with pytest.raises(InputError, match="look-back"):
        GateSettings(20.0, lookback=0.5)


@pytest.mark.parametrize("rate,channels", [(RATE, 1), (44100, 2)])
def test_files_are_gated_and_stay_aligned(models, rate: int, channels: int) -> None:
    """A gate that never closes changes nothing but what a hop of attack does; one that never opens is its floor."""
    model = models(Network(hop=HOP, analysis_window=512, synthesis_window=256, activity=True, identity=True))
    sound = (0.1 * np.random.default_rng(2).standard_normal((rate, channels))).astype(np.float32)
    plain = Enhancer(model, rate, channels)
    wanted = np.concatenate([plain.process(sound), plain.flush()])
    for settings, share in ((GateSettings(20.0, open=1e-9, lookback=0.02), 1.0), (GateSettings(20.0, open=1.0), 0.1)):
        gated = GatedEnhancer(model, rate, channels, None, settings)
        out = np.concatenate([*(gated.process(part) for part in np.split(sound, [1000, 1001, 30000])), gated.flush()])
        assert out.shape == sound.shape
        assert np.abs(out[2000:-200] - share * wanted[2000:-200]).max() < 1e-4


def test_files_from_the_command_line(tmp_path) -> None:
    FLIPS.save(tmp_path / "flips.onnx")
    sound = 0.1 * np.random.default_rng(3).standard_normal(RATE)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    levels = []
    for gate in ("off", "40"):
        arguments = ["denoise", str(tmp_path / "a.wav"), "-o", str(tmp_path / f"{gate}.wav"), "-q", "--gate", gate]
        done = CliRunner().invoke(app, [*arguments, "--model", str(tmp_path / "flips.onnx"), "--gate-hold", "0"])
        assert done.exit_code == 0, done.output
        levels.append(float(np.std(soundfile.read(tmp_path / f"{gate}.wav")[0])))
    assert levels[1] < 0.99 * levels[0]
    Network(hop=HOP, analysis_window=512, synthesis_window=256).save(tmp_path / "silent.onnx")
    done = CliRunner().invoke(
        app, ["denoise", str(tmp_path / "a.wav"), "--gate", "20", "--model", str(tmp_path / "silent.onnx")]
    )
    assert done.exit_code == 2 and "does not say when there is a voice" in done.output
