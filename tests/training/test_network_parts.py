"""Every part in its two modes: the sequence at once and hop after hop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from benchmarks.cost import multiply_adds
from tests.training.tiny import SMALL
from training.export import step_graph
from training.network import Network, NetworkSpec
from training.network.encoder import Pairs
from training.network.film import Film
from training.network.head import Estimates
from training.network.part import Memory, Part, StateSpec

HOPS = 23
FILTERS = replace(SMALL, filterbank="folded", filter_bins=6, filter_frames=3, activity=True)
AHEAD = replace(SMALL, kernel=4, max_lookahead_dilation=2)
STEREO = replace(FILTERS, audio_channels=2)
SLOW = replace(FILTERS, separator="slow_fast", options={"slow_channels": 16, "slow_layers": 3, "slow_rate": 3})


def network(spec: NetworkSpec) -> Network:
    """One whose weights all do something."""
    torch.manual_seed(0)
    made = Network(spec).eval().requires_grad_(False)
    for weight in made.parameters():
        weight.add_(torch.randn_like(weight) * 0.05)
    return made


def in_steps(part: Part, inputs: tuple[Any, ...]) -> list[Any]:
    """What the steps of a part give for a sequence, one batch of it; `inputs` are tensors, or tuples of them."""
    spec = part.state_spec
    history = [torch.zeros((spec.kernel - 1) * dilation, spec.width) for dilation in spec.dilations]
    memory, found = spec.start(), []
    for hop in range(HOPS):
        taps = [rows[::dilation] for rows, dilation in zip(history, spec.dilations, strict=True)]
        memory = Memory(torch.stack(taps) if taps else memory.taps, memory.state, torch.tensor(hop % spec.rate))
        given, memory = part.step(*(mapped(lambda x, hop=hop: x[0, hop : hop + 1], each) for each in inputs), memory)
        found.append(given)
        if taps:
            history = [torch.cat([rows[1:], row[None]]) for rows, row in zip(history, memory.taps, strict=True)]
    return found


def mapped(work: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`work` done to a tensor, or to each in a (named) tuple; None stays."""
    if value is None or isinstance(value, Tensor):
        return None if value is None else work(value)
    parts = [mapped(work, each) for each in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def flat(value: Any) -> list[Tensor]:
    """All tensors in it."""
    if value is None or isinstance(value, Tensor):
        return [] if value is None else [value]
    return [tensor for each in value for tensor in flat(each)]


def sound(spec: NetworkSpec) -> Tensor:
    """Windows `[1, HOPS, (2,) A]` of noise, overlapping as they do in a stream."""
    places = (2,) if spec.audio_channels == 2 else ()
    wave = torch.randn(1, *places, spec.analysis_window + (HOPS - 1) * spec.hop) * 0.1
    wave[..., : spec.analysis_window - spec.hop] = 0  # what came before the first hop
    windows = wave.unfold(-1, spec.analysis_window, spec.hop)
    return windows.transpose(1, 2).contiguous() if places else windows


def encoder(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    return network(spec).encoder, (sound(spec),)


def separator(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    made = network(spec)
    return made.separator, (torch.randn(1, HOPS, made.encoder.features),)


def head(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    return network(spec).head, (torch.randn(1, HOPS, spec.channels),)


def decoder(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    made = network(spec)
    windows = sound(spec)
    pairs, estimates = made.encoder(windows)[1], made.head(torch.randn(1, HOPS, spec.channels))
    assert isinstance(pairs, Pairs) and isinstance(estimates, Estimates)
    return made.decoder, (pairs, estimates, windows)


def condition(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    film = Film(5, [0, 2], spec.channels).requires_grad_(False)
    film.project.weight.normal_()
    return film, (torch.randn(1, HOPS, 5),)


def slow_trunk(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    made = network(spec)
    trunk = made.separator.get_submodule("slow")
    assert isinstance(trunk, Part)
    return trunk, (torch.randn(1, HOPS, made.encoder.levels),)


def windows(spec: NetworkSpec) -> torch.Tensor:
    """What a separator looks at itself, `[1, HOPS, channels, window]`."""
    return torch.randn(1, HOPS, spec.audio_channels, spec.separator_options.fine_window) * 0.1


def looking_trunk(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    trunk, inputs = slow_trunk(spec)
    return trunk, (*inputs, windows(spec))


def looking(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    part, inputs = separator(spec)
    return part, (*inputs, windows(spec))


def film(spec: NetworkSpec) -> tuple[Part, tuple[Any, ...]]:
    made = network(spec)
    assert made.condition is not None
    return made.condition, (torch.randn(1, HOPS, made.encoder.features), torch.randn(1, HOPS, spec.condition_size))


FILM = replace(SMALL, condition="film", classes=["dog", "rain"])
SIDE = replace(SMALL, condition="attention", side_frames=5, side_width=2)
FINE = replace(SLOW, options={"slow_channels": 16, "slow_layers": 2, "slow_rate": 4, "fine_window": 2048})
FINE_STEREO = replace(FINE, audio_channels=2, options=FINE.options | {"slow_rate": 3})
PARTS = {
    "classes": (film, FILM),
    "side sequence": (film, SIDE),
    "head with a median": (head, replace(FILTERS, activity_median=5)),
    "head with a median, stereo": (head, replace(STEREO, activity_median=3, residual_source=True)),
    "encoder": (encoder, SMALL),
    "encoder with filters": (encoder, FILTERS),
    "encoder of stereo": (encoder, STEREO),
    "tcn": (separator, SMALL),
    "tcn that looks ahead": (separator, AHEAD),
    "tcn with batch norm": (separator, replace(SMALL, norm="batch")),
    "slow trunk": (slow_trunk, SLOW),
    "slow and fast": (separator, SLOW),
    "slow and fast, four hops": (separator, replace(SLOW, options={"slow_channels": 8})),
    "slow trunk with a fine spectrum": (looking_trunk, FINE),
    "slow and fast with a fine spectrum, stereo": (looking, FINE_STEREO),
    "lstm": (separator, replace(SMALL, separator="lstm", options={"layers": 2})),
    "attention": (separator, replace(SMALL, separator="attention")),
    "unet": (separator, replace(FILTERS, separator="unet")),
    "unet of stereo": (separator, replace(STEREO, separator="unet", norm="batch")),
    "head": (head, FILTERS),
    "head of complex masks": (head, replace(SMALL, masks="complex", output_scaler=True)),
    "head of stereo": (head, STEREO),
    "film": (condition, SMALL),
    "decoder": (decoder, SMALL),
    "decoder with filters": (decoder, FILTERS),
    "decoder of stereo": (decoder, STEREO),
    "decoder of complex masks": (decoder, replace(STEREO, masks="complex")),
    "decoder with a gate": (decoder, replace(FILTERS, residual_source=True, gate_residual=True)),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("deployed", [False, True], ids=["as trained", "as deployed"])
def test_sequence_and_step_agree(name: str, deployed: bool) -> None:
    make, spec = PARTS[name]
    part, inputs = make(spec)
    expected = flat(part(*inputs))
    found = [flat(each) for each in in_steps(part.deployed() if deployed else part, inputs)]
    assert len(part.products) in (1, part.state_spec.rate)
    for index, sequence in enumerate(expected):
        assert sequence.shape[1] == HOPS
        steps = torch.cat([each[index] for each in found])
        assert steps.shape == sequence[0].shape
        assert torch.allclose(steps, sequence[0], atol=1e-5), (name, index)


def test_slow_work_is_spread() -> None:
    """No hop costs more than twice the mean, which the shipped sizes keep; a network that does not is refused."""
    for spec in (
        SLOW,
        NetworkSpec(separator="slow_fast"),
        NetworkSpec(filterbank="folded", channels=48, hidden=80, features=24, separator="slow_fast"),
    ):
        products = Network(spec).products
        assert len(products) == spec.separator_options.slow_rate
        assert max(products) <= 2 * sum(products) / len(products)
    with pytest.raises(ValueError, match="twice the mean"):
        options = {"slow_channels": 2000, "slow_layers": 1, "slow_rate": 16}
        Network(replace(SMALL, separator="slow_fast", options=options))


@pytest.mark.parametrize(
    "spec",
    [
        SMALL,
        AHEAD,
        FILTERS,
        STEREO,
        SLOW,
        FINE,
        FINE_STEREO,
        replace(FILTERS, pitch_frames=2, offset_hops=64),
        replace(STEREO, filterbank="folded", pitch_frames=2),
    ],
    ids=["plain", "ahead", "filters", "2", "slow", "fine", "fine 2", "pitch frames, offset", "pitch frames 2"],
)
def test_products_are_those_of_the_graph(spec: NetworkSpec, tmp_path: Path) -> None:
    made = Network(spec)
    onnx.save(step_graph(made), tmp_path / "step.onnx")
    assert multiply_adds(tmp_path / "step.onnx") == round(sum(made.products) / len(made.products))


def test_gains_hold_from_their_hop_on() -> None:
    """Slow frame m hears hops up to m × rate + rate − 1, and holds from that one until the next."""
    made = network(replace(SLOW, options={"slow_channels": 16}))
    trunk = made.separator.get_submodule("slow")
    features = torch.randn(1, 13, made.encoder.levels)
    film = trunk(features)[0]
    assert film.shape[0] == 13 and film[:3].abs().max() == 0 and film[3].abs().max() > 0
    assert all(torch.equal(film[hop], film[hop // 4 * 4 + 3 - 4]) for hop in (4, 5, 6, 8, 9, 10, 12))
    assert not torch.equal(film[7], film[3])
    features[:, 7] += 1
    assert torch.equal(trunk(features)[0, :7], film[:7]) and not torch.equal(trunk(features)[0, 7], film[7])


def test_nothing_is_carried_unless_a_part_says_so() -> None:
    assert StateSpec().start().taps.numel() == 0 and StateSpec().start().state.numel() == 0
    assert Network(SMALL).encoder.state_spec == StateSpec()
