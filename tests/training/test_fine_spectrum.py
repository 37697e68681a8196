"""A slow trunk that looks at a fine spectrum: what it shows, and the network through rtsep's own Stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

import rtsep
from tests.training.songs import GATED
from training.checkpoints import named_weights
from training.export import export
from training.network import Network
from training.network.fine_spectrum import GROUPS, LOWEST_HZ, PER_OCTAVE, FineSpectrum
from training.network.harmonic_front import HarmonicFront
from training.onnx_graph import constants

SPEC = replace(
    GATED,
    **{"filterbank": "folded", "separator": "slow_fast"},
    **{"options": {"slow_channels": 16, "film_blocks": [0, 2], "fine_window": 2048}},
)
CHANNELS = ([], [4, 6, 3])  # of the convolutions between spectrum and trunk; none
RATE = 48000


def tone(hertz: float, samples: int = 4096) -> torch.Tensor:
    """`[1, samples]`, the middle of a sound."""
    return torch.sin(2 * torch.pi * hertz * torch.arange(samples, dtype=torch.float64) / RATE).float()[None] * 0.1


def whole(fine: FineSpectrum, window: torch.Tensor) -> torch.Tensor:
    return torch.cat([fine(window, group) for group in range(len(GROUPS))], -1)


@pytest.mark.parametrize("hertz", [110.0, 440.0, 1000.0, 2600.0, 6000.0])
def test_a_tone_stands_at_its_bin(hertz: float) -> None:
    found = whole(FineSpectrum(RATE, 4096, 1), tone(hertz))
    expected = PER_OCTAVE * np.log2(hertz / LOWEST_HZ)
    assert abs(int(found.argmax()) - expected) <= 1
    strong = torch.sort(found).values
    assert float(strong[-1] - strong[len(strong) // 2]) > 1.0  # 14 dB above half of the bins


def test_harmonics_of_a_voice_are_apart() -> None:
    """Partials of 200 Hz are peaks up to 3 kHz, each with a dip of 6 dB and more to the next."""
    window = sum(tone(200.0 * number) for number in range(1, 21))
    assert isinstance(window, torch.Tensor)
    found = whole(FineSpectrum(RATE, 4096, 1), window).numpy()
    decibels = found * 10 * np.log(10) / 0.7 / np.log(10)
    for number in range(1, 11):
        at, between = (round(PER_OCTAVE * np.log2(200.0 * place / LOWEST_HZ)) for place in (number, number + 0.5))
        assert decibels[at - 1 : at + 2].max() - decibels[between] > 6


def test_what_is_above_is_not_folded_into_it() -> None:
    fine = FineSpectrum(RATE, 4096, 1)
    loud = whole(fine, tone(300.0)).max()
    for hertz in (11700.0, 12300.0, 23700.0):
        power = (loud - whole(fine, tone(hertz))[: fine.sizes[0]].max()) * 10 / 0.7
        assert power > 20  # dB


@pytest.fixture(scope="module", params=CHANNELS, ids=["linear", "convolved"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path, Path]:
    """A stereo network whose slow trunk says something, and its two graphs."""
    folder = tmp_path_factory.mktemp("fine")
    torch.manual_seed(0)
    spec = replace(SPEC, options=SPEC.options | {"fine_channels": request.param})
    network = Network(spec).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.add_(torch.randn_like(weight) * 0.05)
    text = yaml.safe_dump({"name": "fine", "target": "accompaniment", "task": "songs", "network": spec.to_dict()})
    state = {"average": named_weights(network), "recipe": text, "hours": 1.0, "step": 1, "trained_on": "nothing"}
    torch.save(state, folder / "checkpoint.pt")
    return network, *export(folder / "checkpoint.pt", folder / "fine.onnx")


def noise(hops: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((128 * hops, 2)) * 0.1).astype(np.float32)


def test_the_window_is_as_long_as_the_spectrum(made: tuple[Network, Path, Path]) -> None:
    spec = rtsep.load(made[1]).spec
    assert spec.analysis_window == 2048 and spec.slow_rate == 4 and spec.algorithmic_latency == 256


def test_the_spectrum_matters(made: tuple[Network, Path, Path]) -> None:
    """Of a sound that ended 1500 samples ago the fast part knows less than the slow one."""
    wave = torch.from_numpy(noise(40).T.copy())[None]
    deaf = Network(made[0].spec).eval().requires_grad_(False)
    deaf.load_state_dict(made[0].state_dict())
    deaf.get_submodule("separator.slow.reduce").weight[:, -SPEC.options["slow_channels"] :] = 0  # type: ignore[index]
    assert (made[0](wave) - deaf(wave)).abs().max() > 1e-4


@pytest.mark.parametrize("form", [1, 2], ids=["step", "flat"])
def test_a_file_keeps_the_spectrum_in_half_the_room(made: tuple[Network, Path, Path], form: int) -> None:
    fine = FineSpectrum(RATE, 2048, 2)
    model = onnx.load(made[form])
    halves = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT16]
    assert len(halves) == len(GROUPS)
    kept = constants(model)
    for group in range(len(GROUPS)):
        rows = fine.rows(group).numpy()
        assert any(value.shape == rows.T.shape and np.array_equal(value, rows.T) for value in kept.values())


@pytest.mark.parametrize("form", [1, 2], ids=["step", "flat"])
def test_any_blocks_give_the_same_bits_which_are_the_network(made: tuple[Network, Path, Path], form: int) -> None:
    wave = noise(1500)
    with torch.no_grad():
        expected = made[0](torch.from_numpy(wave.T.copy())[None])[0].numpy().transpose(0, 2, 1)
    stream = rtsep.load(made[form]).stream(channels=2)
    sound = np.concatenate([stream.process(wave, sources=True), stream.flush(sources=True)], 1)
    assert np.abs(sound[:, stream.latency :] - expected).max() < 1e-4
    rng = np.random.default_rng(1)
    for most in (1000, 90):
        cuts = np.cumsum(rng.integers(1, most, 4000))
        pieces = [stream.process(block, sources=True) for block in np.split(wave, cuts[cuts < len(wave)])]
        assert np.array_equal(np.concatenate([*pieces, stream.flush(sources=True)], 1), sound)


def test_nothing_of_the_future_is_heard(made: tuple[Network, Path, Path]) -> None:
    wave = torch.from_numpy(noise(60).T.copy())[None]
    before = made[0](wave)
    wave[..., 128 * 40 :] = torch.nan
    after = made[0](wave)
    assert torch.equal(after[..., : 128 * 39], before[..., : 128 * 39])


def test_silence_stays_silence(made: tuple[Network, Path, Path]) -> None:
    stream = rtsep.load(made[1]).stream(channels=2)
    assert not stream.process(np.zeros((48000, 2), np.float32)).any()


@pytest.mark.parametrize("channels", CHANNELS)
def test_all_of_it_learns_in_bfloat16(channels: list[int]) -> None:
    network = Network(replace(SPEC, options=SPEC.options | {"fine_channels": channels}))
    network.mixed = True
    network.get_submodule("separator.slow.film.project").weight.data.normal_(0, 0.1)
    network(torch.randn(2, 2, 128 * 40) * 0.1).square().mean().backward()
    weight = network.get_submodule("separator.slow.reduce").weight
    assert isinstance(weight, torch.nn.Parameter) and weight.grad is not None
    assert (weight.grad.abs().sum(0)[-50:] > 0).all()
    for name, each in network.named_parameters():
        if ".front." in name:
            assert each.grad is not None and each.grad.abs().sum() > 0, name


def test_a_front_knows_a_pitch_wherever_it_lies() -> None:
    """The same harmonics eight bins higher give the same, one place further on; in the step form too."""
    torch.manual_seed(0)
    fine = FineSpectrum(RATE, 2048, 1)
    front = HarmonicFront(fine, [4, 6, 3]).requires_grad_(False)
    spectrum = torch.zeros(1, sum(fine.sizes))
    for hertz, level in ((250.0, 3.0), (500.0, 2.0), (1000.0, 1.0)):
        spectrum[0, round(PER_OCTAVE * np.log2(hertz / LOWEST_HZ))] = level
    low, high = (front(torch.roll(spectrum, bins, -1)).unflatten(-1, (3, -1)) for bins in (0, 8))
    assert torch.allclose(low[..., 2:-3], high[..., 3:-2], atol=1e-6)
    assert (low - high).abs().max() > 1e-2
    assert front.features == low.numel() and front.counts == [len(spectrum[0]), 127, 64, 32]
    batch = torch.randn(2, 5, spectrum.shape[1])
    stepped = torch.stack([front.step(each[None]) for each in batch.flatten(0, 1)]).unflatten(0, (2, 5)).squeeze(2)
    assert torch.allclose(front(batch), stepped, atol=1e-5)


def test_a_bin_is_seen_with_its_harmonics() -> None:
    fine = FineSpectrum(RATE, 2048, 2)
    front = HarmonicFront(fine, [4])
    spectrum = torch.arange(sum(fine.sizes), dtype=torch.float32)[None]
    groups = [group.unflatten(-1, (2, -1)) for group in spectrum.split(fine.sizes, -1)]
    bins = torch.cat(groups, -1)[0]  # [channels, bins]
    seen = front._harmonics(spectrum)[0]  # [bins, 5 × channels]
    octave = PER_OCTAVE
    assert seen[100].tolist() == [
        *bins[:, 100 - octave].tolist(),
        *bins[:, 100].tolist(),
        *bins[:, 100 + octave].tolist(),
        *bins[:, 100 + 57].tolist(),
        *bins[:, 100 + 2 * octave].tolist(),
    ]
    assert seen[0, :2].tolist() == [0, 0] and seen[-1, -2:].tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [{"fine_window": 0}, {"fine_channels": [0]}])
def test_a_front_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fine_channels are numbers of channels from 1 up, and need a fine_window"):
        Network(replace(SPEC, options=SPEC.options | {"fine_channels": [4], **wrong}))


def test_the_compiled_step_says_the_same(made: tuple[Network, Path, Path]) -> None:
    model = rtsep.load(made[1], backend="compiled")
    assert model.backend == "compiled"
    wave = noise(400, 3)
    one, other = (each.stream(channels=2, block_multiple=128) for each in (model, rtsep.load(made[1])))
    assert np.abs(one.process(wave) - other.process(wave)).max() < 1e-5
