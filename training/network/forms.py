"""The two forms in which a network is exported: which inputs and outputs a graph has, and in which order."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.network import Network


class StepForm(nn.Module):
    """One hop: `window` → `frames`, and of `taps`, `condition`, `state` and `phase` what the network has, to and fro.

    Shapes are those of `Network.step`; `inputs` and `outputs` are the names, in order.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network.deployed()
        self.state_spec = state = network.state_spec
        self.window = network.window
        condition = network.spec.condition_size
        carried = {
            "taps": bool(state.dilations),
            "condition": bool(condition),
            "state": bool(state.state),
            "phase": state.rate > 1,
        }
        self.inputs = ["window", *(name for name, there in carried.items() if there)]
        found = {"column": carried["taps"], "next_state": carried["state"], "activity": network.spec.activity}
        self.outputs = ["frames", *(name for name, there in found.items() if there)]

    def examples(self) -> tuple[Tensor, ...]:
        """Inputs of the first hop of a silence."""
        spec = self.network.spec
        given = self.state_spec.start()._asdict() | {
            "window": torch.zeros(spec.audio_channels, self.window),
            "condition": torch.zeros(spec.condition_size),
        }
        return tuple(given[name] for name in self.inputs)

    def forward(self, window: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.inputs[1:], carried, strict=True))
        condition = given.pop("condition", None)
        frames, activity, memory = self.network.step(window, self.state_spec.start()._replace(**given), condition)
        found = {"frames": frames, "column": memory.taps, "next_state": memory.state, "activity": activity}
        return tuple(found[name] for name in self.outputs)


class FlatForm(nn.Module):
    """`hop [channels, hop]`, `state [n]`, `condition` if any → `audio [sources, channels, hop]`, `next_state [n]`.

    All history is inside: `state` holds the past of the window, every layer's past columns (oldest first), what the
    network itself carries, the overlap still to be added, and the phase if there is one; it starts at zero. `audio` is
    the sound `synthesis_window − hop + lookahead` samples ago.
    """

    outputs = ("audio", "next_state")

    def __init__(self, step: StepForm):
        super().__init__()
        self.inputs = ["hop", "state", *(["condition"] if step.network.spec.condition_size else [])]
        self.step, self.carried = step, step.state_spec
        spec = step.network.spec
        self.hop, self.overlap = spec.hop, spec.synthesis_window - spec.hop
        self.history = [(self.carried.kernel - 1) * dilation for dilation in self.carried.dilations]
        channels = spec.audio_channels
        overlaps = len(spec.sources) * channels * self.overlap
        layers = (rows * self.carried.width for rows in self.history)
        phase = int(self.carried.rate > 1)
        self.sizes = [channels * (step.window - spec.hop), *layers, self.carried.state, overlaps, phase]

    @property
    def state_size(self) -> int:
        """Length n of the state, in floats."""
        return sum(self.sizes)

    def examples(self) -> tuple[Tensor, ...]:
        """Inputs of the first hop of a silence."""
        spec = self.step.network.spec
        given = torch.zeros(spec.audio_channels, self.hop), torch.zeros(self.state_size)
        return (*given, torch.zeros(spec.condition_size)) if spec.condition_size else given

    def forward(self, hop: Tensor, state: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        spec, carried = self.step.network.spec, self.carried
        past, *layers, inner, overlap, phase = torch.split(state, [size for size in self.sizes])
        window = torch.cat([past.view(spec.audio_channels, -1), hop], 1)
        rows = [layer.view(count, carried.width) for layer, count in zip(layers, self.history, strict=True)]
        memory = carried.start()._replace(state=inner)
        if rows:
            each = zip(rows, carried.dilations, strict=True)
            memory = memory._replace(taps=torch.stack([layer[::dilation] for layer, dilation in each]))
        if carried.rate > 1:
            memory = memory._replace(phase=phase[0].to(torch.int64))
        frames, _, memory = self.step.network.step(window, memory, condition)
        total = frames + F.pad(overlap.view(len(spec.sources), spec.audio_channels, self.overlap), (0, self.hop))
        moved = [torch.cat([layer[1:], memory.taps[i : i + 1]]).flatten() for i, layer in enumerate(rows)]
        kept = [window[:, self.hop :].flatten(), *moved, total[:, :, self.hop :].flatten()]
        if carried.state:
            kept.insert(-1, memory.state)
        if carried.rate > 1:
            kept.append(torch.remainder(phase + 1, carried.rate))
        return total[:, :, : self.hop], torch.cat(kept)
