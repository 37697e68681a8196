"""Losses and scores of songs: stereo, stretches, pieces that nobody sings in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.training.objectives import SONG_LOSSES, SONGS, objective
from training.losses import Objective
from training.losses.vocal_interference import voice_left
from training.tasks.songs import song_scores


def songs(entries: list[dict[str, Any]] = SONG_LOSSES, **setup: Any) -> Objective:
    return objective(entries, SONGS, **({"audio_channels": 2} | setup))


def sounds() -> torch.Tensor:
    """Accompaniment and vocals `[4, 2, 2, samples]`: the last piece has no vocals."""
    sources = torch.randn(4, 2, 2, 24000, generator=torch.Generator().manual_seed(0)) * 0.1
    sources[3, 1] = 0
    return sources


def test_what_is_better_costs_less() -> None:
    sources, both = sounds(), songs()
    losses = []
    for leak in (0.0, 0.1, 0.5, 1.0):
        music = sources[:, 0] + leak * sources[:, 1]
        losses.append(float(both(torch.stack([music, sources.sum(1) - music], 1), sources)[0]))
    assert losses == sorted(losses) and losses[0] < losses[1] - 0.1
    # A voice out of place counts, and so does what is changed where nobody sings.
    moved = sources.clone()
    moved[:, 0] = moved[:, 0].flip(1)
    assert both(moved, sources)[0] > losses[0] + 1
    quiet = sources[3:]
    for damage, limit in ((0.02, -25), (0.2, -10)):
        estimate = torch.stack([quiet[:, 0] * (1 - damage), quiet[:, 0] * damage], 1).requires_grad_()
        loss, parts = both(estimate, quiet)
        loss.backward()
        assert loss.isfinite() and estimate.grad is not None and estimate.grad.isfinite().all()
        assert parts["snr vocals"] < limit


def test_mono_is_stereo_without_a_side() -> None:
    """Two equal channels have no side: the SNR is that of one, and the spectrum's error half of it."""
    mono = sounds()[:3].mean(2)
    stereo = mono.unsqueeze(2).expand(-1, -1, 2, -1)
    one = songs(audio_channels=1)(mono * 0.7, mono)[1]
    two = songs()(stereo * 0.7, stereo)[1]
    assert two["snr vocals"].item() == pytest.approx(one["snr vocals"].item(), abs=1e-4)
    name = "compressed_spectrum accompaniment vocals"
    assert two[name].item() == pytest.approx(one[name].item() / 2, rel=1e-3)


def test_a_batch_that_nobody_sings_in_teaches_nothing_at_first() -> None:
    late = {"where": "vocals", "where_until": 0.4}
    sources, both = sounds(), songs([entry | late for entry in SONG_LOSSES])
    estimate = (sources * 0.7).requires_grad_()
    loss, _ = both(estimate, sources, both.due(0, 0.0))
    loss.backward()
    assert estimate.grad is not None and torch.equal(estimate.grad[3], torch.zeros_like(sources[3]))
    assert torch.allclose(loss, both(estimate[:3], sources[:3])[0])
    assert not torch.allclose(loss, both(estimate, sources)[0])
    assert both(estimate[3:], sources[3:], both.due(0, 0.39))[0] == 0


def test_stretches_count_alike() -> None:
    """A soft second costs as much as a loud one; over a whole piece it hardly counts."""
    sources = torch.cat([sounds()[:3], 0.1 * sounds()[:3]], -1)  # half a second each

    def cost(estimate: torch.Tensor, stretch: float) -> float:
        entry = {"loss": "snr", "of": "accompaniment", "stretch": stretch}
        return float(songs([entry])(estimate, sources)[0])

    costs: dict[tuple[str, bool], float] = {}
    for by_stretch in (True, False):
        for place, part in (("loud", slice(24000)), ("soft", slice(24000, 48000))):
            estimate = sources + 1e-6
            # What is there of the vocals leaks into half of the piece.
            estimate[:, 0, :, part] += 0.3 * sources[:, 1, :, part]
            costs[place, by_stretch] = cost(estimate, 0.5 if by_stretch else 0)
    assert costs["soft", True] == pytest.approx(costs["loud", True], abs=0.1)
    assert costs["soft", False] < costs["loud", False] - 10
    # A rest shorter than a stretch is left out, and a piece shorter than one is a stretch of its own.
    spoilt = sources.clone()
    spoilt[..., 38400:] += 1
    by_rest = cost(spoilt, 0.4)
    assert by_rest == pytest.approx(-30, abs=0.1)
    assert cost(spoilt, 0) == cost(spoilt, 9) > by_rest + 10


def test_interference_is_against_the_source_named() -> None:
    """Half of the vocals left in the accompaniment: −6 dB; pieces without vocals have no value."""
    sources = sounds()
    music = sources[:, 0] + 0.5 * sources[:, 1]
    for against in ({}, {"against": "vocals"}):
        both = songs([{"loss": "vocal_interference", "of": "accompaniment", **against}])
        found = both(torch.stack([music, sources[:, 1]], 1), sources)[0].item()
        assert found == pytest.approx(-6, abs=0.3)
        assert both(torch.stack([music, sources[:, 1]], 1)[3:], sources[3:])[0] == 0


def test_scores() -> None:
    sources = sounds()
    leak = 10 ** (-12 / 20)
    music = sources[:, 0] + leak * sources[:, 1]
    music[3] = sources[3, 0] * (1 + 10 ** (-30 / 20))
    scores = song_scores(music, sources)
    assert float(scores["suppression"]) == pytest.approx(12, abs=0.1)
    assert float(scores["sdri"]) == pytest.approx(12, abs=0.1)
    assert float(scores["change"]) == pytest.approx(-30, abs=0.1)
    assert "change" not in song_scores(sources[:3, 0], sources[:3])
    # Damage of the accompaniment is no voice that is left.
    noise = torch.randn_like(music[:3]) * 0.1
    assert float(voice_left(noise, sources[:3]).max()) < -8
