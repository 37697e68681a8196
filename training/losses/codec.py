"""What a codec makes of a sound, learnt by a network, which then serves as a loss.

Ananthabhotla, Ewert & Paradiso 2020, "Using a neural network codec approximation loss to improve source separation
performance in limited capacity networks".

A codec of few bits keeps what is heard and drops what is masked, and a network that learns to do as it does must know
the difference. Differences of its activations weigh errors accordingly.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.losses.frozen import read_frozen
from training.losses.loss import Context, Loss, Setup, Sound

KIND, TOOL = "codec network", "codec_network"


class CodecNetwork(nn.Module):
    """Waveforms `[batch, samples]` → the same coded and decoded, roughly.

    An encoder of windows of 64 samples, dilated convolutions added to each other, a decoder; `activations` gives what
    every layer says, `[batch, width, frames]` each.
    """

    def __init__(self, width: int = 32, layers: int = 5):
        super().__init__()
        self.width, self.depth = width, layers
        self.encode = nn.Conv1d(1, width, 64, 16, 24)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=2**layer, dilation=2**layer) for layer in range(layers)
        )
        self.decode = nn.ConvTranspose1d(width, 1, 64, 16, 24, bias=False)
        nn.init.zeros_(self.decode.weight)  # it begins by changing nothing

    def activations(self, wave: Tensor) -> list[Tensor]:
        """The encoder's and every layer's, from the first on."""
        x = torch.tanh(self.encode(wave.unsqueeze(1)))
        found = [x]
        for layer in self.layers:
            x = x + F.elu(layer(x))
            found.append(x)
        return found

    def forward(self, wave: Tensor) -> Tensor:
        return wave + self.decode(self.activations(wave)[-1])[:, 0, : wave.shape[-1]]

    def packed(self, codec: str, kbps: int) -> dict[str, Any]:
        """What a file of it holds."""
        about = {"kind": KIND, "codec": codec, "kbps": kbps, "width": self.width, "layers": self.depth}
        return about | {"weights": self.state_dict()}


def read_codec_network(file: str) -> CodecNetwork:
    """The network in a file, frozen; raises ValueError with one sentence."""
    found = read_frozen(file, KIND, TOOL)
    made = CodecNetwork(found["width"], found["layers"])
    made.load_state_dict(found["weights"])
    return made.eval().requires_grad_(False)


class Codec(Loss):
    """Mean absolute difference of the activations of a frozen codec network, mean over layers and channels, `[batch]`.

    `file` is what `training.data.tools.codec_network` wrote.
    """

    def __init__(self, setup: Setup, file: str = ""):
        super().__init__(setup)
        self.network = read_codec_network(file)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        channels = estimate.waves.shape[1]
        with torch.autocast(estimate.waves.device.type, enabled=False):
            found = [self.network.activations(each.waves.flatten(0, 1)) for each in (estimate, reference)]
            errors = [(one - other).abs().mean((1, 2)) for one, other in zip(*found, strict=True)]
        return torch.stack(errors).mean(0).view(-1, channels).mean(1)
