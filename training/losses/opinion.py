"""What listeners would say of an estimate, guessed by DNSMOS P.808 and heard through as a frozen loss.

Reddy, Gopal, Cutler, "DNSMOS: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate Noise
Suppressors", ICASSP 2021, arXiv 2010.15258. The network is Microsoft's file `model_v8.onnx` in their package speechmos
(MIT). It is not the one that `training.evaluation.dnsmos` reports (P.835: other questions to listeners, other weights),
so the report is not what was trained on. Still they are relatives: whether it sounds better only judges of another kind
can tell (`distillmos`, `pesq`, words that a recogniser gets). The warning in `pesq_proxy` holds here too.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.evaluation.packaged import packaged_file
from training.losses.loss import Context, Loss, Setup, Sound, mono_only
from training.losses.narrow import RATE, narrow

WINDOW, HOP, BANDS = 321, 160, 120  # samples at 16 kHz, and mel bands, of the network's front
BEST = 5.0
LEVEL = 0.05  # RMS of a mixture, −26 dBFS: as loud as what the network was trained on
KINDS = {"Conv", "Relu", "MaxPool", "ReduceMax", "MatMul", "Add"}  # what the network is made of


class OpinionNet(torch.nn.Module):
    """The P.808 network: `[batch, samples]` at 16 kHz, of any length from 0.1 s on → opinion, 1 to 5, `[batch]`.

    Raises ValueError for a file that is not it. The front measures from the loudest point, so the level counts only
    where it makes pauses fainter than 1e-10.
    """

    window: Tensor
    bands: Tensor

    def __init__(self, file: Path):
        super().__init__()
        import onnx  # with the package that carries the file

        graph = onnx.load(file).graph
        weights = {each.name: torch.tensor(onnx.numpy_helper.to_array(each)) for each in graph.initializer}
        self.steps: list[tuple[str, list[str]]] = []  # what is done, and with which buffers
        for index, node in enumerate(node for node in graph.node if node.op_type not in ("Unsqueeze", "Transpose")):
            found = [weights[name] for name in node.input if name in weights]
            names = [f"weight_{index}_{place}" for place in range(len(found))]
            for name, value in zip(names, found, strict=True):
                self.register_buffer(name, value, persistent=False)  # the package has them: not in checkpoints
            self.steps.append((node.op_type, names))
        if {kind for kind, _ in self.steps} != KINDS:
            raise ValueError(f"{file} is not DNSMOS's P.808 network, model_v8.onnx.")
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("bands", slaney_bands(), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        x = self.front(wave).unsqueeze(1)
        for kind, names in self.steps:
            weights = [getattr(self, name) for name in names]
            if kind == "Conv":
                x = F.conv2d(x, weights[0], weights[1], padding=1)
            elif kind == "Relu":
                x = F.relu(x)
            elif kind == "MaxPool":
                x = F.max_pool2d(x, 2)
            elif kind == "ReduceMax":
                x = x.amax((2, 3))
            elif kind == "MatMul":
                x = x @ weights[0]
            else:
                x = x + weights[0]
        return x.squeeze(-1)

    def front(self, wave: Tensor) -> Tensor:
        """Mel powers in dB from the loudest, 80 dB of them, as the network knows them; `[batch, frames, BANDS]`."""
        spectrum = torch.stft(
            wave, WINDOW, HOP, window=self.window, center=True, pad_mode="constant", return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2) @ self.bands
        level = 10 * power.clamp(min=1e-10).log10()
        loudest = level.amax((1, 2), keepdim=True)
        return ((level - loudest).clamp(min=-80) + 40) / 40


def slaney_bands() -> Tensor:
    """Triangles of unit area on Slaney's mel scale (linear to 1 kHz), 0 to 8 kHz, float32 `[161, BANDS]`.

    Slaney, "Auditory Toolbox", 1998: 15 bands a kHz to 1 kHz, then 27 bands to each factor of 6.4.
    """
    top = 15 + 27 * math.log(RATE / 2 / 1000) / math.log(6.4)
    mel = np.linspace(0, top, BANDS + 2)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
    hertz = np.arange(WINDOW // 2 + 1)[:, None] * (RATE / WINDOW)
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    bands = np.minimum(rising, falling).clip(0) * 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(bands.astype(np.float32))


class Opinion(Loss):
    """5 − the opinion of DNSMOS P.808 of one source, points, `[batch]`; the reference only says where it sounds.

    The network was trained on nine seconds and takes the greatest response over all; a piece may be shorter. Raises
    ValueError for two channels, for rates other than 16 and 48 kHz, and where the package speechmos is missing.
    """

    present_above = 1e-4

    def __init__(self, setup: Setup):
        super().__init__(setup)
        mono_only(setup, "an opinion")
        if setup.sample_rate not in (RATE, 3 * RATE):
            raise ValueError(f"an opinion is of sound at 16000 or 48000 Hz, not {setup.sample_rate}.")
        file = packaged_file("speechmos", "dnsmos_models/model_v8.onnx")
        if file is None:
            raise ValueError("an opinion needs DNSMOS's network in the package speechmos: pip install speechmos onnx.")
        self.network = OpinionNet(file).requires_grad_(False)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        with torch.autocast(estimate.waves.device.type, enabled=False):
            return BEST - self.network(narrow(estimate.waves[:, 0] * LEVEL, self.setup.sample_rate))
