"""Checkpoint to ONNX: `python -m training.export RUN/checkpoint.pt OUT.onnx`; OUT.flat.onnx comes beside it."""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import hashlib
import io
import json
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from rich.console import Console
from torch import nn

import rtsep
from training.network import Network
from training.network.step import FlatForm, StepForm
from training.recipe import Recipe, parse_recipe

OPSET = 17
TOLERANCE = 1e-4
console = Console(stderr=True)


def load_checkpoint(file: Path) -> tuple[Network, Recipe, dict[str, Any]]:
    """The averaged network, its recipe and the whole checkpoint.

    Raises ValueError with one sentence if the file is missing or is no checkpoint of `training.train`.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        recipe = parse_recipe(state["recipe"])
        network = Network(recipe.network)
        network.load_state_dict(state["average"])
    except FileNotFoundError:
        raise ValueError(f"There is no checkpoint {file}.") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError, EOFError):
        raise ValueError(f"{file} is not a checkpoint of training.train.") from None
    return network.eval().requires_grad_(False), recipe, state


def heard(state: dict[str, Any]) -> tuple[float, int]:
    """Hours of mixtures and steps that the weights of a checkpoint have seen, runs before a warm start counted in."""
    hours, steps = state.get("before", (0.0, 0))
    return hours + state["hours"], steps + state["step"]


def metadata(
    recipe: Recipe, step: StepForm, form: str, version: str, licence: str, trained_on: str, state: int = 0
) -> dict[str, str]:
    """What the host must know, as strings, without the `rtsep.` prefix and the hash of the weights."""
    spec = recipe.network
    values = {"format": 1, "form": form, "name": recipe.name, "version": version, "sample_rate": spec.sample_rate}
    values |= {"hop": spec.hop, "analysis_window": step.window, "synthesis_window": spec.synthesis_window}
    values |= {
        "lookahead": spec.lookahead,
        "channels": spec.audio_channels,
        "sources": json.dumps(spec.sources),
        "target": recipe.target,
    }
    values |= {"kernel": spec.kernel, "dilations": json.dumps(spec.dilations), "hidden": step.width}
    values |= {"condition": 0, "state": state, "recipe": recipe.text, "trained_on": trained_on, "licence": licence}
    return {key: str(value) for key, value in values.items()}


def weights_sha256(model: onnx.ModelProto) -> str:
    """sha256 over the little-endian bytes of all initialisers in name order."""
    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda tensor: tensor.name):
        array = onnx.numpy_helper.to_array(tensor)
        digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def to_onnx(form: nn.Module, inputs: tuple[torch.Tensor, ...], names: tuple[list[str], list[str]]) -> onnx.ModelProto:
    """The graph of `form` with fixed shapes, constants folded."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated, but its graphs have fewer nodes
        torch.onnx.export(
            form,
            inputs,
            buffer,  # type: ignore[arg-type]
            input_names=names[0],
            output_names=names[1],
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def step_graph(network: Network) -> onnx.ModelProto:
    """The graph of one hop, without metadata."""
    spec = network.spec
    step = StepForm(network).eval()
    taps = torch.zeros(len(spec.dilations), spec.kernel - 1, step.width)
    names = ["frames", "column", "activity"] if spec.activity else ["frames", "column"]
    inputs = (torch.zeros(spec.audio_channels, step.window), taps)
    return to_onnx(step, inputs, (["window", "taps"], names))


def write(model: onnx.ModelProto, values: dict[str, str], file: Path) -> None:
    """Adds the metadata and writes the file."""
    values = values | {"weights_sha256": weights_sha256(model)}
    del model.metadata_props[:]
    for key, value in values.items():
        model.metadata_props.add(key=f"rtsep.{key}", value=value)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())


def difference(network: Network, file: Path, seconds: float = 2.0) -> float:
    """Largest absolute error of the file, streamed by rtsep, against the sequence form in torch."""
    spec = network.spec
    samples = int(seconds * spec.sample_rate) // spec.hop * spec.hop
    channels = spec.audio_channels
    wave = torch.randn(channels, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        expected = network(wave if channels == 1 else wave.unsqueeze(0))[0].numpy()
    stream = rtsep.load(file).stream(channels=channels, block_multiple=spec.hop)
    block = wave.numpy()[0] if channels == 1 else wave.numpy().T
    streamed = np.concatenate([stream.process(block, sources=True), stream.flush(sources=True)], axis=1)
    if channels > 1:  # [sources, samples, channels]
        expected = expected.transpose(0, 2, 1)
    return float(np.abs(streamed[:, stream.latency :] - expected).max())


def export(checkpoint: Path, out: Path, version: str = "1", licence: str = "not stated") -> tuple[Path, Path]:
    """Writes the step graph to `out` and the flat graph beside it; returns both paths.

    Raises ValueError if the checkpoint cannot be read or a graph differs from the sequence form by more than 1e-4.
    """
    network, recipe, state = load_checkpoint(checkpoint)
    spec = network.spec
    hours, steps = heard(state)
    trained_on = f"{hours:.1f} hours of mixtures, {steps} steps\n{state['trained_on']}"
    flat = FlatForm(StepForm(network).eval()).eval()  # the exporter gives a module back in the mode it found it in
    flat_file = out.with_suffix(".flat.onnx")
    graphs = {
        out: (step_graph(network), "step", 0),
        flat_file: (
            to_onnx(
                flat,
                (torch.zeros(spec.audio_channels, spec.hop), torch.zeros(flat.state_size)),
                (["hop", "state"], ["audio", "next_state"]),
            ),
            "flat",
            flat.state_size,
        ),
    }
    # Everything is written and checked in a folder beside, so that a good model is never replaced by a bad one.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        for file, (model, form, size) in graphs.items():
            part = Path(folder) / file.name
            write(model, metadata(recipe, flat.step, form, version, licence, trained_on, size), part)
            error = difference(network, part)
            if not error <= TOLERANCE:
                raise ValueError(f"The {form} graph differs from the network by {error:.2e}, over {TOLERANCE:.0e}.")
            console.print(
                f"{file.name}: {len(model.graph.node)} nodes, {part.stat().st_size / 1e6:.2f} MB, error {error:.1e}"
            )
        for file in graphs:
            (Path(folder) / file.name).replace(file)
    return out, flat_file


def main(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.pt of a run folder.")],
    out: Annotated[Path, typer.Argument(help="Where the step graph goes; the flat graph gets .flat.onnx.")],
    version: Annotated[str, typer.Option(help="Version of the model, kept in its metadata.")] = "1",
    licence: Annotated[str, typer.Option(help="Licence of the weights, kept in its metadata.")] = "not stated",
) -> None:
    """Export a checkpoint to ONNX and check it against torch through rtsep's own Stream."""
    try:
        export(checkpoint, out, version, licence)
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
