"""Spatial baselines: a Stream like any other, the middle removed, and sound without a middle left alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import rtsep
from benchmarks.fastica import fast_ica
from rtsep import InputError
from rtsep.audio_io.files import enhance_file
from rtsep.baselines.ica import without_middle
from rtsep.cli import app
from rtsep.engine.enhance import Enhancer

NAMES = ["mid-side", "azimuth", "ica"]
RATE = 48000


def noise(*shape: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def wide(length: int, seed: int = 0) -> np.ndarray:
    """A sound in the middle and one on either side, [length, 2]."""
    return noise(length, 1, seed=seed) + noise(length, 2, seed=seed + 1)


def in_pieces(stream: rtsep.Stream, x: np.ndarray, cuts: list[int], **options) -> np.ndarray:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(x)), len(x)]
    pieces = [stream.process(x[a:b], **options) for a, b in pairwise(bounds)]
    return np.concatenate(pieces, axis=1 if options.get("sources") else 0)


def level(x: np.ndarray) -> float:
    return 10 * np.log10(float(np.mean(np.square(x, dtype=np.float64))) + 1e-30)


# A Stream like any other.


@pytest.mark.parametrize("name", NAMES)
def test_spec(name):
    model = rtsep.load(name)
    spec = model.spec
    assert (spec.name, spec.target, spec.sources) == (name, "accompaniment", ("accompaniment", "vocals"))
    assert (spec.sample_rate, spec.channels) == (RATE, 2)
    assert spec.algorithmic_latency < 0.02 * RATE
    assert model.stream(channels=2).latency + 1 == spec.algorithmic_latency
    assert model.stream(channels=2, block_multiple=spec.hop).latency == spec.algorithmic_latency - spec.hop
    assert rtsep.load(model.path).spec == spec
    with pytest.raises(InputError, match="takes 1 or 2, not 3"):
        model.stream(channels=3)


@given(
    name=st.sampled_from(NAMES),
    rate=st.sampled_from([RATE, 44100, 8000]),
    cuts=st.lists(st.integers(1, 5000), max_size=10),
    strength=st.sampled_from([None, 0.0, 9.0]),
    sources=st.booleans(),
)
def test_any_partition_gives_the_same_bits(name, rate, cuts, strength, sources):
    stream = rtsep.load(name).stream(rate, 2, strength)
    x = wide(5000)
    whole = stream.process(x, sources=sources)
    stream.reset()
    np.testing.assert_array_equal(in_pieces(stream, x, cuts, sources=sources), whole)


@given(name=st.sampled_from(NAMES), t=st.integers(1, 4000))
def test_what_comes_changes_nothing_that_went_out(name, t):
    stream = rtsep.load(name).stream(channels=2)
    x = wide(5000)
    before = stream.process(x)
    x[t:] = wide(5000 - t, seed=7)
    stream.reset()
    after = stream.process(x)
    np.testing.assert_array_equal(after[:t], before[:t])
    assert (after[t + stream.latency :] != before[t + stream.latency :]).any() or t + stream.latency >= 5000


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_the_bare_step_stays_after_its_time_and_goes(name):
    """No NaN before its time, and none a second later: nothing of it may stay in the state."""
    model = rtsep.load(name)
    hop, window = model.spec.hop, model.spec.analysis_window
    x = wide(2 * RATE).T
    broken, t = x.copy(), 100 * hop + 5
    broken[:, t : t + 300] = np.nan

    def run(signal: np.ndarray) -> np.ndarray:
        step = model.step()
        starts = range(0, signal.shape[1] - window, hop)
        frames = [step.step(np.ascontiguousarray(signal[:, at : at + window])).copy() for at in starts]
        return np.concatenate(frames, axis=2)

    clean, result = run(x), run(broken)  # the first frame begins at window - latency
    first = t - (window - model.spec.algorithmic_latency) - model.spec.algorithmic_latency
    np.testing.assert_array_equal(result[..., :first], clean[..., :first])
    assert np.isnan(result).any()
    assert np.isfinite(result[..., t + RATE // 2 :]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["nan", "inf", "1e30", "1e-42", "square"])
def test_faults_stay_finite_and_pass(name, fault):
    bad = np.full((RATE // 4, 2), float("nan") if fault == "square" else float(fault), np.float32)
    if fault == "square":
        bad[:] = np.sign(np.sin(np.arange(len(bad)) / 7))[:, None] * [1, -1]
    bad[::3] = wide(len(bad[::3]))
    stream, fresh = rtsep.load(name).stream(channels=2), rtsep.load(name).stream(channels=2)
    assert np.isfinite(stream.process(bad)).all()
    x = wide(RATE, seed=3)
    result = stream.process(x)
    fresh.process(np.zeros_like(bad))
    assert np.isfinite(result).all()
    if name != "ica":  # which remembers for seconds what it has learned
        np.testing.assert_allclose(result[-RATE // 4 :], fresh.process(x)[-RATE // 4 :], atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_silence_in_silence_out(name, rate):
    stream = rtsep.load(name).stream(rate, channels=2)
    silence = np.zeros((rate // 4, 2), np.float32)
    assert not stream.process(silence, sources=True).any()
    stream.process(wide(rate // 4))
    stream.process(silence)
    assert np.abs(stream.process(silence)).max() < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_vocals_and_accompaniment_sum_to_the_input(name):
    stream = rtsep.load(name).stream(channels=2)
    x = noise(20000, 1) + 0.3 * noise(20000, 2, seed=1)  # mostly from the middle
    both = stream.process(x, sources=True)
    np.testing.assert_allclose(both.sum(axis=0)[stream.latency :], x[: -stream.latency], atol=1e-6)
    assert level(both[0]) < level(x) - 0.1 and level(both[1]) > level(x) - 20


@pytest.mark.parametrize("name", NAMES)
def test_flush_and_reset_make_it_new(name):
    stream = rtsep.load(name).stream(channels=2)
    x = wide(9000)
    whole = stream.process(np.concatenate([x, np.zeros((stream.latency, 2), np.float32)]))
    for _ in range(2):
        stream.reset()
        np.testing.assert_array_equal(np.concatenate([stream.process(x), stream.flush()]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_enhance_is_aligned_and_takes_a_strength(name):
    x = wide(20000)
    full = rtsep.enhance(x, RATE, name)
    half = rtsep.enhance(x, RATE, name, strength=6.0)
    g = 10 ** (-6 / 20)
    np.testing.assert_allclose(half, (1 - g) * full + g * x, atol=1e-6)
    assert rtsep.enhance(x, 44100, name).shape == x.shape


# The middle is removed.


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize(("name", "removed", "kept"), [("mid-side", 60.0, 6.1), ("azimuth", 25.0, 0.5)])
def test_the_middle_goes_and_the_sides_and_the_bass_stay(name, removed, kept):
    voice, bass, left, right = tone(1000), tone(50), tone(600), tone(2500)
    x = np.stack([voice + bass + left, voice + bass + right], axis=1)
    y = rtsep.enhance(x, RATE, name)[RATE // 4 : -RATE // 4]

    def change(hz: float, channel: int) -> float:
        ruler = np.exp(-2j * np.pi * hz * np.arange(len(y)) / RATE)
        before, after = (abs(signal[:, channel] @ ruler) for signal in (x[RATE // 4 : -RATE // 4], y))
        return 20 * np.log10(after / before)

    for channel, own in ((0, 600), (1, 2500)):
        assert change(1000, channel) < -removed
        assert change(50, channel) == pytest.approx(0, abs=0.3)
        assert change(own, channel) == pytest.approx(-kept if name == "mid-side" else 0, abs=0.5)


def test_a_hard_panned_sound_passes_the_azimuth_mask():
    """Nothing but analysis and synthesis is left then: the windows sum to one."""
    x = np.stack([noise(RATE // 2), np.zeros(RATE // 2, np.float32)], axis=1)
    np.testing.assert_allclose(rtsep.enhance(x, RATE, "azimuth"), x, atol=1e-6)


def test_ica_finds_the_sound_in_the_middle():
    rng = np.random.default_rng(5)
    voice, other = (0.1 * rng.laplace(size=12 * RATE).astype(np.float32) for _ in range(2))
    x = np.stack([voice + 1.0 * other, 0.9 * voice - 0.2 * other], axis=1)
    y = rtsep.enhance(x, RATE, "ica")[-2 * RATE :]
    v, o = voice[-2 * RATE :], other[-2 * RATE :]
    for channel, gain in ((0, 1.0), (1, -0.2)):
        leak, found = np.linalg.lstsq(np.stack([v, o], axis=1), y[:, channel], rcond=None)[0]
        assert found == pytest.approx(gain, abs=0.12)
        assert 20 * np.log10(abs(leak) + 1e-9) < -18


def test_fast_ica_on_blocks_does_too():
    rng = np.random.default_rng(6)
    voice, other = (0.1 * rng.laplace(size=7 * RATE).astype(np.float32) for _ in range(2))
    x = np.stack([voice + other, 0.9 * voice - 0.2 * other], axis=1)
    x[: 2 * RATE] = 0  # nothing to learn from
    y = fast_ica(x, RATE, block_s=4.0)
    assert y.shape == x.shape and y.dtype == np.float32 and not y[: 2 * RATE].any()
    part = slice(3 * RATE, None)
    for channel, gain in ((0, 1.0), (1, -0.2)):
        leak, found = np.linalg.lstsq(np.stack([voice, other], axis=1)[part], y[part, channel], rcond=None)[0]
        assert found == pytest.approx(gain, abs=0.05) and abs(leak) < 0.05
    with pytest.raises(InputError, match=r"needs \[samples, 2\]"):
        fast_ica(x[:, 0], RATE)


def test_the_rule_of_the_voice():
    mixing = np.array([[1.0, 0.9], [0.1, 1.0]])  # the second column points to the middle
    removal = without_middle(np.linalg.inv(mixing))
    np.testing.assert_allclose(removal @ mixing[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(removal @ mixing[:, 0], mixing[:, 0])


# Sound without a middle.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_mono_is_refused_with_one_sentence(name, rate, tmp_path):
    x = noise(9000)
    lossy = np.stack([x, x + noise(9000, seed=1, level=3e-5)], axis=1)
    for signal in (x, x[:, None], np.stack([x, x], axis=1), lossy):
        with pytest.raises(InputError, match=f"^{name} finds the voice .* mono; it cannot help") as refusal:
            rtsep.enhance(signal, rate, name)
        assert "\n" not in str(refusal.value)
        sf.write(tmp_path / "song.wav", signal, rate, subtype="FLOAT")
        with pytest.raises(InputError, match="mono; it cannot help"):
            enhance_file(tmp_path / "song.wav", tmp_path / "out.wav", rtsep.load(name))
        assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]
    silent = np.zeros((3000, 2), np.float32)
    np.testing.assert_array_equal(rtsep.enhance(silent, rate, name), silent)


def test_the_end_of_a_stereo_song_may_be_mono():
    """After a jump to it nothing but the same channels is heard; the song is still no mono song."""
    enhancer = Enhancer(rtsep.load("mid-side"), RATE, 2)
    same = np.repeat(noise(5000)[:, None], 2, axis=1)
    enhancer.process(wide(5000))
    enhancer.reset()
    assert len(enhancer.process(same)) + len(enhancer.flush()) == 5000
    enhancer.process(same)
    with pytest.raises(InputError, match="this sound is mono"):
        enhancer.flush()


@pytest.mark.parametrize("name", NAMES)
def test_a_live_stream_passes_mono_unchanged(name):
    x = noise(20000)
    for signal in (x, np.stack([x, x], axis=1)):
        stream = rtsep.load(name).stream(channels=signal.ndim)
        np.testing.assert_array_equal(stream.process(signal)[stream.latency :], signal[: -stream.latency])


@pytest.mark.parametrize("name", NAMES)
def test_stereo_fades_in_and_a_voice_alone_is_still_a_voice(name):
    """After stereo sound a middle alone is removed for ten seconds; then it is taken for mono."""
    model = rtsep.load(name)
    stream = model.stream(channels=2)
    alone = np.repeat(tone(1000, 13.0)[:, None], 2, axis=1)
    stream.process(alone[:RATE])
    stereo = np.stack([tone(1000), tone(1000) + tone(3000)], axis=1)
    passing = stream.process(stereo)
    assert np.abs(np.diff(passing, axis=0)).max() < 0.2  # no click
    y = stream.process(alone)
    assert level(y[RATE : 9 * RATE]) < level(alone) - 15
    settled = y[11 * RATE :]
    np.testing.assert_array_equal(settled, alone[11 * RATE - stream.latency : 13 * RATE - stream.latency])


def test_the_list_of_models_shows_them():
    shown = CliRunner().invoke(app, ["models", "--json"])
    assert shown.exit_code == 0
    table = CliRunner().invoke(app, ["models"]).stdout
    for name in NAMES:
        assert f'"{name}"' in shown.stdout and name in table
    assert table.count("baseline") == len(NAMES)
