"""Checkpoint to ONNX: `python -m training.export RUN/checkpoint.pt OUT.onnx`; OUT.flat.onnx comes beside it."""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import hashlib
import json
import pickle
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from rich.console import Console

import rtsep
from training import weight_layout
from training.checkpoints import load_weights
from training.network import Network
from training.network.forms import FlatForm, StepForm
from training.onnx_graph import keep_half, to_onnx
from training.recipe import Recipe, parse_recipe

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
        load_weights(network, state["average"])
    except FileNotFoundError:
        raise ValueError(f"There is no checkpoint {file}.") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError, EOFError):
        raise ValueError(f"{file} is not a checkpoint of training.train.") from None
    return network.eval().requires_grad_(False), recipe, state


def training_amount(state: dict[str, Any]) -> tuple[float, int]:
    """Hours of mixtures and steps that the weights of a checkpoint have seen, runs before a warm start counted in."""
    hours, steps = state.get("before", (0.0, 0))
    return hours + state["hours"], steps + state["step"]


def metadata(
    recipe: Recipe, step: StepForm, form: str, version: str, licence: str, trained_on: str, state: int
) -> dict[str, str]:
    """What the host must know, as strings, without the `rtsep.` prefix and the hash of the weights.

    `state` is the length of the form's state.
    """
    spec, carried = recipe.network, step.state_spec
    values = {"format": 1, "form": form, "name": recipe.name, "version": version, "sample_rate": spec.sample_rate}
    values |= {"hop": spec.hop, "analysis_window": step.window, "synthesis_window": spec.synthesis_window}
    values |= {
        "lookahead": spec.lookahead,
        "channels": spec.audio_channels,
        "sources": json.dumps(spec.sources),
        "target": recipe.target,
    }
    values |= {"kernel": carried.kernel, "dilations": json.dumps(carried.dilations), "hidden": carried.width}
    values |= {"slow_rate": carried.rate} if carried.rate > 1 else {}
    values |= {"classes": json.dumps(spec.classes)} if spec.classes else {}
    values |= {"side_width": spec.side_width} if spec.side_width else {}
    values |= {
        "condition": spec.condition_size,
        "state": state,
        "recipe": recipe.text,
        "trained_on": trained_on,
        "licence": licence,
    }
    return {key: str(value) for key, value in values.items()}


def weights_sha256(model: onnx.ModelProto) -> str:
    """sha256 over the little-endian bytes of all initialisers in name order."""
    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda tensor: tensor.name):
        array = onnx.numpy_helper.to_array(tensor)
        digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def graph_of(form: StepForm | FlatForm) -> onnx.ModelProto:
    """The graph of `form`, without metadata."""
    model = to_onnx(form, form.examples(), (form.inputs, form.outputs))
    keep_half(model)
    return model


def step_graph(network: Network) -> onnx.ModelProto:
    """The graph of one hop, without metadata."""
    return graph_of(StepForm(network))


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
    condition = torch.rand(1, spec.condition_size, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        expected = network(wave if channels == 1 else wave.unsqueeze(0), condition)[0].numpy()
    given = condition[0].numpy() if spec.condition_size else None
    stream = rtsep.load(file).stream(channels=channels, block_multiple=spec.hop, condition=given)
    block = wave.numpy()[0] if channels == 1 else wave.numpy().T
    streamed = np.concatenate([stream.process(block, sources=True), stream.flush(sources=True)], axis=1)
    if channels > 1:  # [sources, samples, channels]
        expected = expected.transpose(0, 2, 1)
    return float(np.abs(streamed[:, stream.latency :] - expected).max())


@torch.no_grad()
def round_to_half(network: Network) -> None:
    """Rounds what was learnt, but for vectors, to numbers that float16 has: a file keeps them in half the room."""
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.copy_(weight.half().float())


def export(
    checkpoint: Path, out: Path, version: str = "1", licence: str = "not stated", half: bool = False
) -> tuple[Path, Path]:
    """Writes the step graph to `out` and the flat graph beside it; returns both paths. `half` is `round_to_half`.

    Raises ValueError if the checkpoint cannot be read or a graph differs from the sequence form by more than 1e-4.
    """
    network, recipe, state = load_checkpoint(checkpoint)
    if half:
        round_to_half(network)
    hours, steps = training_amount(state)
    trained_on = f"{hours:.1f} hours of mixtures, {steps} steps\n{state['trained_on']}"
    step = StepForm(network)
    flat = FlatForm(step)
    flat_file = out.with_suffix(".flat.onnx")
    layout = weight_layout.find(network, step_graph)
    if not layout:
        console.print(f"No training can begin from {out.name}: what its weights were cannot be told from the graph.")
    told = {
        out: metadata(recipe, step, "step", version, licence, trained_on, step.state_spec.state)
        | ({"weights": layout} if layout else {}),
        flat_file: metadata(recipe, step, "flat", version, licence, trained_on, flat.state_size),
    }
    graphs = {out: graph_of(step), flat_file: graph_of(flat)}
    # Everything is written and checked in a folder beside, so that a good model is never replaced by a bad one.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        for file, model in graphs.items():
            part, form = Path(folder) / file.name, told[file]["form"]
            write(model, told[file], part)
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
    half: Annotated[
        bool, typer.Option("--half", help="Matrices of 16-bit numbers: half the file, a little noise.")
    ] = False,
) -> None:
    """Export a checkpoint to ONNX and check it against torch through rtsep's own Stream."""
    try:
        export(checkpoint, out, version, licence, half)
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
