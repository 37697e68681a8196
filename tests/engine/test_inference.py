"""Steps: both ONNX forms against the numpy sequence, and causality of the bare graph."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from graphs import Network

from rtsep.engine.inference import FlatStep, OnnxStep

NETWORKS = {
    "plain": Network(),
    "long window": Network(analysis_window=100, synthesis_window=40),
    "three hops": Network(synthesis_window=48, kernel=4, dilations=(3, 1)),
    "one hop": Network(synthesis_window=16),
    "stereo": Network(channels=2, activity=True),
    "recurrent": Network(state=5),
    "look-ahead": Network(lookahead=20, state=3),
    "no taps": Network(state=5, dilations=()),
    "slow": Network(state=5, slow_rate=4),
    "slow, stereo": Network(state=3, slow_rate=3, channels=2, lookahead=20, activity=True),
}


def overlapped(network: Network, step, x: np.ndarray) -> np.ndarray:
    """The slow way to run a step: all windows, frames added up; aligned with x, as Network.sequence is."""
    late = network.synthesis_window + network.lookahead
    padded = np.pad(x, ((0, 0), (network.analysis_window - network.hop, 0))).astype(np.float32)
    result = np.zeros((len(network.sources), network.channels, x.shape[1] + late))
    for begin in range(0, x.shape[1], network.hop):
        frames = step.step(np.ascontiguousarray(padded[:, begin : begin + network.analysis_window]))
        at = begin + network.hop
        result[..., at : at + frames.shape[2]] += frames
    return result[..., late:]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("form", ["step", "flat"])
def test_both_forms_equal_the_sequence(models, name, form):
    network = NETWORKS[name]
    x = np.random.default_rng(1).standard_normal((network.channels, 60 * network.hop)) * 0.3
    step = models(network, form).step()
    assert isinstance(step, OnnxStep if form == "step" else FlatStep)
    complete = x.shape[1] - network.synthesis_window - network.lookahead
    expected, activity = network.sequence(x)
    result = overlapped(network, step, x)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(result[..., :complete], expected[..., :complete], rtol=0, atol=1e-5)
    if form == "step" and activity is not None:
        assert step.activity is not None
        np.testing.assert_allclose(step.activity, activity[-1], atol=1e-5)
    else:
        assert step.activity is None
    step.reset()
    np.testing.assert_array_equal(overlapped(network, step, x), result)


def test_condition_reaches_the_network_and_survives_reset(models):
    network = Network(condition=3)
    x = np.random.default_rng(1).standard_normal((1, 320))
    step = models(network).step()
    np.testing.assert_allclose(overlapped(network, step, x)[..., :288], network.sequence(x)[0][..., :288], atol=1e-5)
    step.condition[:] = hint = np.array([2.0, -1.0, 0.5])
    step.reset()
    expected = network.sequence(x, hint)[0]
    assert np.abs(expected - network.sequence(x)[0]).max() > 0.01
    np.testing.assert_allclose(overlapped(network, step, x)[..., :288], expected[..., :288], atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_nan_in_the_bare_graph_stays_after_its_time(models, name):
    """NaN from sample t on leaves what belongs to samples before t - latency untouched, on the graph itself."""
    network = NETWORKS[name]
    x = np.random.default_rng(2).standard_normal((network.channels, 30 * network.hop))
    t = 14 * network.hop + 5
    broken = x.copy()
    broken[:, t:] = np.nan
    late = network.synthesis_window + network.lookahead
    model = models(network)
    clean, result = overlapped(network, model.step(), x), overlapped(network, model.step(), broken)
    np.testing.assert_array_equal(result[..., : t - late], clean[..., : t - late])
    assert np.isnan(result).any(), "the NaN never arrived, so this test shows nothing"


@pytest.mark.parametrize("form", ["step", "flat"])
def test_steps_of_one_model_share_nothing_but_weights(models, form):
    """Two steps in turns, and eight in threads, give what each gives alone."""
    network = Network(state=4, slow_rate=3)
    model = models(network, form)
    signals = np.random.default_rng(3).standard_normal((8, 1, 100 * network.hop))
    alone = [overlapped(network, model.step(), x) for x in signals]
    results: list[np.ndarray | None] = [None] * len(signals)

    def work(index: int) -> None:
        results[index] = overlapped(network, model.step(), signals[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(signals))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(np.array(results), np.array(alone))


def test_step_takes_a_view_of_many_channels(models):
    """Stream hands over rows of a larger window."""
    network = Network()
    step = models(network).step()
    windows = np.random.default_rng(4).standard_normal((3, network.analysis_window)).astype(np.float32)
    frames = step.step(windows[1:2]).copy()
    step.reset()
    np.testing.assert_array_equal(frames, step.step(windows[1:2].copy()))
