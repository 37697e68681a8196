"""The part that takes a constant away before all else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_network_parts import FILTERS, SLOW, STEREO
from tests.training.tiny import SMALL
from training.network import Network, NetworkSpec
from training.network.offset import SILENT, Offset
from training.network.part import Memory

PITCH = replace(SLOW, filterbank="folded", pitch_frames=1, offset_hops=16)


def part(hops: int = 16, channels: int = 1) -> Offset:
    return Offset(replace(STEREO if channels == 2 else SMALL, offset_hops=hops))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(8, 200), st.integers(1, 2), st.integers(0, 2**31))
def test_a_step_gives_what_the_sequence_gives(count: int, hops: int, channels: int, seed: int) -> None:
    offset = part(hops, channels)
    wave = torch.randn(1, channels, 128 * count, generator=torch.Generator().manual_seed(seed)) + 0.3
    expected = offset(wave if channels == 2 else wave[:, 0])[0].view(count + 1, channels)
    memory: Memory = offset.state_spec.start()
    for hop, mean in zip([*wave[0].split(128, -1), torch.zeros(channels, 128)], expected, strict=True):
        found, memory = offset.step(hop, memory)
        torch.testing.assert_close(found, mean, rtol=1e-5, atol=1e-6)


def test_a_constant_goes_within_hops_and_what_stops_is_forgotten() -> None:
    mean = part(64)(torch.full((1, 128 * 400), 0.05))[0, :-1]
    assert mean[0] == pytest.approx(0.05 / (1 + SILENT * (1 - 1 / 64)))
    assert mean[40] > 0.95 * 0.05 and mean[399] == pytest.approx(0.05, rel=1e-3)
    ended = part(64)(torch.cat([torch.full((1, 128 * 200), 0.05), torch.zeros(1, 128 * 400)], 1))[0]
    assert ended[200 + 320] < 0.01 * 0.05  # five times 64 hops later


def test_voices_stay() -> None:
    """A tone of 80 Hz loses less than 35 dB under it."""
    wave = torch.sin(torch.arange(48000) * (2 * torch.pi * 80 / 48000)).unsqueeze(0)
    late = part(64)(wave)[0, 100:]
    assert late.abs().max() < 10 ** (-35 / 20)


@pytest.mark.parametrize("spec", [replace(FILTERS, offset_hops=16), replace(STEREO, offset_hops=16), PITCH])
def test_a_network_with_it_hears_next_to_nothing_of_a_constant(spec: NetworkSpec) -> None:
    """Once the constant is known, and out of every window: what comes out is what came out without it."""
    torch.manual_seed(0)
    made = Network(spec).eval()
    shape = (1, 2, 128 * 300) if spec.audio_channels == 2 else (1, 128 * 300)
    wave = 0.1 * torch.randn(shape)
    plain, moved = made(wave), made(wave + 0.05)
    error = (moved - plain)[..., -128 * 60 : -128]  # behind the end, a silence that knows nothing of a constant
    bare = Network(replace(spec, offset_hops=0)).eval()
    bare.load_state_dict(made.state_dict())
    without = (bare(wave + 0.05) - bare(wave))[..., -128 * 60 : -128]
    assert error.square().mean() < 1e-3 * without.square().mean()
    assert made(torch.zeros(shape)).abs().max() == 0
