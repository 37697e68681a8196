"""Conditions and the median of activities: hand-worked cases, export, and streams whose condition changes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import rtsep
from rtsep.errors import InputError
from tests.training.tiny import SMALL
from training.checkpoints import named_weights
from training.export import export
from training.network import Network, NetworkSpec
from training.network.conditions import FilmCondition, SideAttention
from training.network.head import Head
from training.weight_transfer import warm_start

FILM = replace(SMALL, filterbank="folded", condition="film", classes=["dog_bark", "rain", "sea"], activity=True)
SIDE = replace(SMALL, filterbank="folded", condition="attention", side_frames=6, side_width=2, separator="lstm")
MEDIAN = replace(SMALL, filterbank="folded", activity=True, activity_median=5, separator="slow_fast")
MEDIAN = replace(MEDIAN, options={"slow_channels": 8})


def network(spec: NetworkSpec) -> Network:
    torch.manual_seed(0)
    made = Network(spec).eval().requires_grad_(False)
    for weight in made.parameters():
        weight.add_(torch.randn_like(weight) * 0.05)
    return made


def files(spec: NetworkSpec, folder: Path) -> tuple[Network, Path, Path]:
    made = network(spec)
    text = yaml.safe_dump({"name": "told", "target": "speech", "network": spec.to_dict()})
    state = {"average": named_weights(made), "recipe": text, "hours": 1.0, "step": 1, "trained_on": "nothing"}
    torch.save(state, folder / "checkpoint.pt")
    return made, *export(folder / "checkpoint.pt", folder / "told.onnx")


@pytest.mark.parametrize("form", [1, 2], ids=["step", "flat"])
@pytest.mark.parametrize("spec", [FILM, SIDE, MEDIAN], ids=["film", "attention", "median"])
def test_the_stream_is_the_network(spec: NetworkSpec, form: int, tmp_path: Path) -> None:
    made = files(spec, tmp_path)
    wave = (torch.randn(1, 128 * 90) * 0.1).float()
    condition = torch.randn(1, spec.condition_size)
    expected = made[0](wave, condition)[0].numpy()
    stream = rtsep.load(made[form]).stream(condition=condition[0].numpy() if spec.condition else None)
    whole = np.concatenate([stream.process(wave[0].numpy(), sources=True), stream.flush(sources=True)], 1)
    assert np.abs(whole[:, stream.latency :] - expected).max() < 1e-4
    pieces = [stream.process(each, sources=True) for each in np.split(wave[0].numpy(), [5, 600, 601, 5000])]
    assert np.array_equal(np.concatenate([*pieces, stream.flush(sources=True)], 1), whole)
    if spec.condition:
        assert np.abs(made[0](wave)[0].numpy() - expected).max() > 1e-3  # it matters


def test_a_condition_changes_while_the_stream_runs(tmp_path: Path) -> None:
    """It ramps over 8 hops (20 ms) from the next hop on, whatever the blocks, and is what the network says of that."""
    made, step, _ = files(FILM, tmp_path)
    model = rtsep.load(step)
    assert model.spec.classes == ("dog_bark", "rain", "sea") and model.spec.condition == 3
    wave = torch.randn(1, 128 * 60) * 0.1
    runs = []
    for cuts in ([], [1, 700, 701, 3000], [128 * 20 + 64]):
        stream = model.stream(condition="rain")
        pieces = [stream.process(each) for each in np.split(wave[0, : 128 * 30].numpy(), [c for c in cuts if c < 3840])]
        stream.condition = "dog"
        assert np.array_equal(stream.condition, [1, 0, 0])
        pieces.append(stream.process(wave[0, 128 * 30 :].numpy()))
        runs.append(np.concatenate([*pieces, stream.flush()])[stream.latency :])
    assert all(np.array_equal(run, runs[0]) for run in runs)
    shares = (torch.arange(61) - 29).clamp(0, 8)[:, None] / 8
    told = shares * torch.eye(3)[0] + (1 - shares) * torch.eye(3)[1]
    assert np.abs(runs[0] - made(wave, told[None])[0, 0].numpy()).max() < 1e-4
    stream.condition = [0.2, 0.3, 0.5]
    stream.condition = None
    assert not stream.condition.any()


def test_a_side_sequence_grows_while_the_stream_runs(tmp_path: Path) -> None:
    """Frames that come later are ramped in over 8 hops of 128 (20 ms), and before they come they count for nothing."""
    made, step, _ = files(SIDE, tmp_path)
    wave, side = torch.randn(1, 128 * 60) * 0.1, torch.rand(6, 2)
    stream = rtsep.load(step).stream(condition=side[:2].numpy())
    pieces = [stream.process(wave[0, : 128 * 30].numpy(), sources=True)]
    stream.condition = side[:5].numpy()
    pieces.append(stream.process(wave[0, 128 * 30 :].numpy(), sources=True))
    found = np.concatenate([*pieces, stream.flush(sources=True)], 1)[:, stream.latency :]
    first, then = (torch.cat([side[:count], torch.zeros(6 - count, 2)]).flatten() for count in (2, 5))
    shares = (torch.arange(61) - 29).clamp(0, 8)[:, None] / 8
    told = shares * then + (1 - shares) * first
    assert np.abs(found - made(wave, told[None])[0].numpy()).max() < 1e-4
    assert np.abs(found - made(wave, first[None])[0].numpy()).max() > 1e-3


def test_what_is_no_condition_is_refused(tmp_path: Path) -> None:
    _, step, _ = files(FILM, tmp_path)
    stream = rtsep.load(step).stream()
    for wrong, said in (
        ("cat", "has no class 'cat'; its classes are dog_bark, rain, sea"),
        ([1.0], "is 3 finite numbers"),
        ([1.0, np.nan, 0.0], "is 3 finite numbers"),
    ):
        with pytest.raises(InputError, match=said):
            stream.condition = wrong
    plain = rtsep.load("denoise").stream()
    assert plain.condition is None
    with pytest.raises(InputError, match="takes no condition"):
        plain.condition = [1.0]
    for change, said in (
        ({"condition": "film"}, "classes are the names"),
        ({"condition": "attention"}, "side_frames and side_width"),
        ({"classes": ["dog"]}, "classes are the names"),
        ({"activity_median": 5}, "needs activity"),
        ({"activity_median": 4, "activity": True}, "odd number"),
        ({"condition": "smell"}, "condition must be one of"),
    ):
        with pytest.raises(ValueError, match=said):
            replace(SMALL, **change)


def test_a_trained_network_gets_a_condition() -> None:
    """It begins as it was, as long as nothing is told."""
    plain, told = Network(replace(FILM, condition="", classes=[])), Network(FILM)
    wave = torch.randn(1, 128 * 20) * 0.1
    warm_start(told, named_weights(plain))
    assert torch.equal(told(wave), plain(wave)) and not torch.equal(told(wave, torch.ones(1, 3)), plain(wave))
    with pytest.raises(ValueError, match="another architecture"):
        warm_start(plain, named_weights(told))


def test_film_by_hand() -> None:
    part = FilmCondition(FILM, 2).requires_grad_(False)
    part.project.weight[:] = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0.5, 0, 0], [0, 0, 3]])  # gains, then offsets
    x = torch.tensor([[[10.0, 20.0]]])
    assert part(x, torch.zeros(1, 1, 3)).tolist() == [[[10.0, 20.0]]]
    assert part(x, torch.tensor([[[1.0, 0.5, 0.1]]])).tolist() == [[[pytest.approx(20.5), pytest.approx(40.3)]]]


def test_side_attention_by_hand() -> None:
    """Weights are softmax(g W_s hᵀ / √D) over the frames that are there; those of zeros have none."""
    part = SideAttention(SIDE, 4).requires_grad_(False)
    side = torch.zeros(6, 2)
    side[:3] = torch.randn(3, 2)
    x = torch.randn(4)
    rows = torch.cat([torch.zeros(1, 2), side, torch.zeros(1, 2)])
    encoded = [torch.tanh(part.encode(rows[i : i + 3].flatten()) + part.place[i]) for i in range(3)]
    scores = torch.stack([part.score(x) @ h for h in encoded]) / math.sqrt(SIDE.channels)
    mean = (torch.softmax(scores, 0)[:, None] * torch.stack(encoded)).sum(0)
    expected = x + part.project(torch.tanh(part.join(mean)))
    assert torch.allclose(part(x.view(1, 1, 4), side.view(1, 1, 12))[0, 0], expected, atol=1e-6)
    assert torch.equal(part(x.view(1, 1, 4), torch.zeros(1, 1, 12))[0, 0], x)


def test_the_median_by_hand() -> None:
    """Of five hops: a single hop without activity is passed over, a single active one too."""
    head = Head(replace(MEDIAN, separator="tcn", options={}), 4).eval().requires_grad_(False)
    activity = torch.tensor([9.0, 9, 9, -9, 9, 9, -9, -9, -9, 9, -9, -9])
    made = head.estimates(torch.zeros(1, 12, SMALL.channels))
    estimates = made._replace(activity=torch.stack([activity, -activity], -1)[None], gains=torch.ones(1, 12, 2, 1, 4))
    head.estimates = lambda _: estimates  # type: ignore[method-assign]
    found = head(torch.zeros(1, 12, SMALL.channels)).gains[0, :, 0, 0, 0]
    history = [0.0] * 4 + torch.sigmoid(activity).tolist()
    assert found.tolist() == pytest.approx([sorted(history[i : i + 5])[2] for i in range(12)])
    assert (found > 0.5).tolist() == [False, False, True, True, True, True, True, False, False, False, False, False]
    head.train()
    assert head(torch.zeros(1, 12, SMALL.channels)).gains.eq(1).all()
