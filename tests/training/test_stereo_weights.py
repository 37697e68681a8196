"""A stereo network that begins as a mono one, and does to the middle what that did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import yaml

from tests.training.tiny import SMALL
from training.checkpoints import load_weights, named_weights
from training.network import Network, NetworkSpec
from training.network.slow_fast import SlowFast
from training.stereo_weights import in_stereo
from training.weight_transfer import warm_start

SONG: dict[str, Any] = {"audio_channels": 2, "sources": ["accompaniment", "vocals"], "residual_source": True}
MONO = replace(SMALL, filterbank="folded", features=8, features_top=2400.0)
SLOW: dict[str, Any] = {"separator": "slow_fast", "options": {"slow_channels": 12, "slow_rate": 2, "slow_layers": 1}}
FINE = {"options": SLOW["options"] | {"fine_window": 2048, "fine_channels": [3, 4]}}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "filters": {"filter_bins": 6, "filter_frames": 3},
    "pitch frames, activity": {"pitch_frames": 2, "activity": True},
    "slow and fast": SLOW,
    "all": SLOW | FINE | {"filter_bins": 6, "filter_frames": 3, "pitch_frames": 1, "activity": True},
}


def begun(spec: NetworkSpec) -> tuple[Network, dict[str, Any]]:
    """A network of no meaning, and the checkpoint that it is."""
    torch.manual_seed(0)
    network = Network(spec)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if not name.startswith(("encoder", "decoder")):  # an open mask lets a sound through as it is
                weight.add_(0.03 * torch.randn_like(weight))
        if isinstance(network.separator, SlowFast):
            network.separator.slow.film.project.weight.normal_(0, 0.1)
    recipe = yaml.safe_dump({"name": "mono", "target": spec.sources[0], "network": spec.to_dict()})
    return network.eval(), {"average": named_weights(network), "recipe": recipe, "optimizers": [{}], "hours": 1.0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sources", [["speech", "noise"], ["noise", "speech"]])
def test_the_middle_is_separated_as_by_the_mono_network(kind: str, sources: list[str]) -> None:
    mono, begin = begun(replace(MONO, sources=sources, **KINDS[kind]))
    spec = replace(mono.spec, **SONG)
    stereo = Network(spec).eval()
    given = in_stereo(begin, spec)
    warm_start(stereo, given["average"])
    wave = 0.1 * torch.randn(2, 2, 128 * 40)
    with torch.no_grad():
        found, active, _ = stereo.estimate(wave)
        expected, told, _ = mono.estimate(wave.mean(1))
    noise = sources.index("noise")
    torch.testing.assert_close(found[:, 0].mean(1), expected[:, noise], rtol=0, atol=1e-5)
    torch.testing.assert_close(found.sum(1)[..., :-128], wave[..., :-128], rtol=0, atol=1e-5)
    side, through = ((each[:, 0] - each[:, 1]) / 2 for each in (wave, found[:, 0]))
    assert (through - side).square().mean() < 0.01 * side.square().mean()
    if spec.activity:
        torch.testing.assert_close(active, told[..., [noise, 1 - noise]], rtol=0, atol=1e-5)
    assert given["optimizers"] == [] and given["hours"] == 1.0


@pytest.mark.parametrize("active", [(False, False), (False, True), (True, False)])
def test_both_sources_may_have_masks_and_one_network_no_activity(active: tuple[bool, bool]) -> None:
    mono, begin = begun(replace(MONO, activity=active[0], pitch_frames=1))
    spec = replace(mono.spec, audio_channels=2, sources=["vocals", "accompaniment"], activity=active[1])
    stereo = Network(spec).eval()
    load_weights(stereo, in_stereo(begin, spec)["average"])
    wave = 0.1 * torch.randn(1, 2, 1280)
    with torch.no_grad():
        torch.testing.assert_close(stereo(wave).mean(2), mono(wave.mean(1)), rtol=0, atol=1e-5)


def test_what_is_not_of_mono_stays_as_it_is_and_what_does_not_fit_is_refused() -> None:
    _, begin = begun(replace(MONO, audio_channels=2))
    assert in_stereo(begin, replace(MONO, **SONG)) is begin
    assert in_stereo(begun(MONO)[1], MONO)["optimizers"] == [{}]
    unread = {"separator": "slow_fast", "options": SLOW["options"] | {"fine_window": 2048}}
    for change in ({"sources": ["speech"]}, {"masks": "complex"}, {"residual_source": True}, unread):
        with pytest.raises(ValueError, match="Stereo begins"):
            in_stereo(begun(replace(MONO, **change))[1], replace(MONO, **SONG))
