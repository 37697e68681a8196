"""Small separators of songs, form spectral, as ONNX files: quick, with segments of a tenth of a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = {"sample_rate": 44100, "channels": 2, "window": 256, "hop": 64, "bins": 64, "frames": 64, "overlap": 16}
DESCRIPTION = SIZES | {
    "name": "tiny",
    "version": "1",
    "target": "accompaniment",
    "licence": "MIT",
    "trained_on": "nothing",
    "sources": '["vocals", "accompaniment"]',
}


@dataclass(frozen=True)
class SpectralNetwork:
    """Masks by how loud a bin is over 9 frames, so that what a segment does not show matters; or always ``mask``.

    complex_spectra: spectra in and separated spectra out, instead of magnitudes and masks.
    """

    mask: float | None = None
    complex_spectra: bool = False
    above: str = "follow"

    def description(self) -> dict[str, str]:
        """Everything but what `rtsep models add` adds."""
        names = ("spectra", "separated") if self.complex_spectra else ("magnitudes", "masks")
        return {k: str(v) for k, v in DESCRIPTION.items()} | dict(
            zip(("input", "output"), names, strict=True), above=self.above
        )

    def graph(self) -> onnx.ModelProto:
        """Without metadata."""
        told = self.description()
        parts = [2] if self.complex_spectra else []
        shape = [2, *parts, SIZES["frames"], SIZES["bins"]]
        constants = {"axis": np.array([0], np.int64), "one": np.float32(1), "mask": np.float32(self.mask or 0)}
        x, y = told["input"], told["output"]
        nodes = [helper.make_node("Unsqueeze", [x, "axis"], ["batch"])]
        if self.complex_spectra:
            nodes += [helper.make_node("Mul", ["batch", "mask"], [y])]
        elif self.mask is not None:
            nodes += [
                helper.make_node("Mul", ["batch", "zero"], ["none"]),
                helper.make_node("Add", ["none", "mask"], [y]),
            ]
            constants["zero"] = np.float32(0)
        else:
            around = {"kernel_shape": [9, 1], "pads": [4, 0, 4, 0], "count_include_pad": 1}
            nodes += [
                helper.make_node("AveragePool", ["batch"], ["loud"], **around),
                helper.make_node("Add", ["loud", "one"], ["more"]),
                helper.make_node("Div", ["loud", "more"], [y]),
            ]
        graph = helper.make_graph(
            nodes,
            "spectral",
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, *shape])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model

    def save(self, path: Path, **overrides: str | None) -> Path:
        """With metadata; ``overrides`` replaces some, None leaves them out."""
        model = self.graph()
        values = self.description() | {"format": "1", "form": "spectral", "weights_sha256": "0" * 64} | overrides
        helper.set_model_props(model, {f"rtsep.{key}": value for key, value in values.items() if value is not None})
        onnx.save(model, path)
        return path
