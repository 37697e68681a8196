"""The models that are shipped: what their files promise, what they do to real recordings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import rtsep
from benchmarks.cost import multiply_adds
from rtsep.model import shipped
from training.evaluation.speech_metrics import pesq_wb, si_sdr, stoi

DATA = Path(__file__).parent / "data"
NAMES = sorted(shipped())
SPEECH = [name for name in NAMES if rtsep.load(name).spec.target == "speech"]
WINDOW = 256  # samples at 48 kHz: 5.33 ms
LOOKAHEAD = {"denoise-ahead": 512}  # samples; all others have none


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> rtsep.Model:
    return rtsep.load(request.param)


@pytest.fixture(scope="module", params=SPEECH)
def cleaner(request: pytest.FixtureRequest) -> rtsep.Model:
    return rtsep.load(request.param)


def recording(name: str) -> np.ndarray:
    return soundfile.read(DATA / name, dtype="float32")[0]


def test_what_is_shipped() -> None:
    assert {"denoise", "denoise-small", "denoise-ahead"} <= set(NAMES)


def test_cleaners_keep_to_their_budget() -> None:
    budget = {"denoise": 0.5e9, "denoise-small": 0.1e9, "denoise-ahead": 0.54e9}  # multiply-adds a second
    for name, most in budget.items():
        model = rtsep.load(name)
        assert (multiply_adds(model.path) or most) * model.spec.sample_rate / model.spec.hop < most


def test_the_file_keeps_its_promises(model: rtsep.Model) -> None:
    """Its latency at 48 kHz, under 8 MB, a card beside it, and the hash of the weights that are really inside."""
    spec = model.spec
    assert spec.sample_rate == 48000 and spec.lookahead == LOOKAHEAD.get(spec.name, 0)
    assert spec.algorithmic_latency == WINDOW + spec.lookahead
    assert model.path.stat().st_size < 8e6
    assert model.path.with_suffix(".md").exists()
    initialisers = sorted(onnx.load(str(model.path)).graph.initializer, key=lambda tensor: tensor.name)
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in initialisers]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    assert digest.hexdigest() == model.spec.weights_sha256


def test_a_real_recording_comes_out_cleaner(cleaner: rtsep.Model) -> None:
    """Two voices in rain and typing at 5 dB: every measure improves. (How much is for benchmarks.quality to say.)"""
    noisy, clean = recording("demo.noisy.flac"), recording("demo.clean.flac")
    enhanced = rtsep.enhance(noisy, sample_rate=16000, model=cleaner)
    assert si_sdr(clean, enhanced) > si_sdr(clean, noisy) + 3
    assert pesq_wb(clean, enhanced, 16000) > pesq_wb(clean, noisy, 16000)
    assert stoi(clean, enhanced, 16000, extended=True) > stoi(clean, noisy, 16000, extended=True) - 0.02


def test_a_clean_voice_stays_what_it_is(cleaner: rtsep.Model) -> None:
    clean = recording("demo.clean.flac")
    assert si_sdr(clean, rtsep.enhance(clean, sample_rate=16000, model=cleaner)) > 10


@settings(max_examples=6, deadline=None)
@given(sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=20), channels=st.sampled_from([1, 2]))
def test_blocks_do_not_matter(sizes: list[int], channels: int) -> None:
    noisy = np.tile(recording("demo.noisy.flac")[:20000, None], channels)
    stream = rtsep.load("denoise").stream(channels=channels)
    whole = stream.process(noisy)
    stream.reset()
    cuts = np.cumsum(sizes)
    pieces = [stream.process(piece) for piece in np.split(noisy, cuts[cuts < len(noisy)])]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_silence_gives_silence(model: rtsep.Model) -> None:
    out = model.stream(sample_rate=44100, channels=2).process(np.zeros((44100, 2), np.float32))
    assert np.array_equal(out, np.zeros_like(out))


def test_the_future_does_not_matter(model: rtsep.Model) -> None:
    """NaN in the bare graph's window from sample t on touches no sample that belongs before t − latency."""
    spec = model.spec
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.standard_normal((spec.channels, spec.hop * 40 + spec.lookahead))).astype(np.float32)

    def output(wave: np.ndarray) -> np.ndarray:
        step, count = model.step(), wave.shape[1]
        padded = np.pad(wave, ((0, 0), (spec.analysis_window - spec.hop, 0)))
        total = np.zeros((len(spec.sources), spec.channels, count + spec.synthesis_window), np.float32)
        for index in range(count // spec.hop):
            window = np.ascontiguousarray(padded[:, index * spec.hop : index * spec.hop + spec.analysis_window])
            begin = (index + 1) * spec.hop
            total[..., begin : begin + spec.synthesis_window] += step.step(window)
        return total[..., spec.algorithmic_latency :]  # sample i of the input is column i

    clean = output(sound)
    for start in (spec.hop * 20 + spec.lookahead, spec.hop * 20 + spec.lookahead + 77):
        spoilt = sound.copy()
        spoilt[:, start:] = np.nan
        before = start - spec.algorithmic_latency + 1
        assert 0 < before < clean.shape[-1] and clean[..., :before].any()
        assert np.array_equal(output(spoilt)[..., :before], clean[..., :before])


def assert_forgotten(found: np.ndarray, expected: np.ndarray, clean: np.ndarray, model: rtsep.Model) -> None:
    """Of what came before nothing is left: no bit behind the receptive field.

    Units that recur may remember longer; after 8 s that is 20 dB under the sound, and the voice is as clean as it was.
    """
    spec = model.spec
    if spec.slow_rate == 1:
        settled = spec.receptive_field + spec.algorithmic_latency
        assert settled < len(found) - 48000
        assert np.array_equal(found[settled:], expected[settled:])
    else:
        delay = model.stream().latency
        found, expected = (part[8 * 48000 + delay :, 0] for part in (found, expected))
        clean = clean[8 * 48000 : 8 * 48000 + len(found), 0]
        assert np.square(found - expected).mean() < 1e-2 * np.square(expected).mean()
        assert si_sdr(clean, found) > si_sdr(clean, expected) - 0.3


def demo(samples: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The noisy and the clean demo, over and over, float32 `[samples, channels]`."""
    both = (np.resize(recording(f"demo.{kind}.flac"), samples) for kind in ("noisy", "clean"))
    noisy, clean = (sound[:, None].repeat(channels, 1) for sound in both)
    return noisy, clean


@pytest.mark.long
def test_it_recovers_from_any_fault(model: rtsep.Model) -> None:
    """NaN, infinity, full-scale squares and huge values: finite output, and the same sound again afterwards."""
    voice, clean = demo(48000 * 10, 2)
    fault = np.concatenate(
        [np.full(500, np.nan), np.full(500, -np.inf), np.sign(np.sin(np.arange(9000) / 20)), np.full(200, 1e30)]
    ).astype(np.float32)
    fault = fault[:, None].repeat(2, 1)
    faulty, spared = model.stream(channels=2), model.stream(channels=2)
    assert np.isfinite(faulty.process(np.concatenate([voice[:4800], fault]))).all()
    spared.process(np.concatenate([voice[:4800], np.zeros_like(fault)]))
    after, expected = faulty.process(voice), spared.process(voice)
    assert_forgotten(after, expected, clean, model)


@pytest.mark.long
def test_a_long_stream_does_not_drift(model: rtsep.Model) -> None:
    """The same ten seconds, five times in a row: once the memory is full every round gives the same samples.

    Or, where units recur, sounds the same.
    """
    channels = model.spec.channels
    whole = 48000 * 10 // (model.spec.hop * model.spec.slow_rate) * model.spec.hop * model.spec.slow_rate
    noisy, clean = demo(whole, channels)
    stream = model.stream(channels=channels)
    rounds = [stream.process(noisy) for _ in range(5)]
    for later in rounds[2:]:
        assert_forgotten(later, rounds[1], clean, model)
