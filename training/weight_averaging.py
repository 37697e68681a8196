"""Weights between two models: `python -m training.weight_averaging FIRST SECOND OUT.pt --share 0.4`.

A run that went on from other weights, on other recordings, is better at these and a little worse at what it came from;
on the straight line between the two may lie weights that are better at both (Wortsman et al. 2022, "Robust fine-tuning
of zero-shot models", arXiv 2109.01903), and so between two runs that went on from the same ones (Wortsman et al. 2022,
"Model soups", arXiv 2203.05482). They cost nothing to find: score some shares on the valid pairs. `--logits` then moves
along another line for free, masks that take more out, or less, and `--gate` along a third.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from training.checkpoints import renamed
from training.network import Network
from training.onnx_weights import read_beginning
from training.recipe import parse_recipe


def blended(first: dict[str, Any], second: dict[str, Any], share: float) -> dict[str, Any]:
    """A checkpoint whose weights are (1 − `share`) × those of `first` + `share` × those of `second`, both checkpoints.

    All that is told of its training is the second's, which must have gone on from the first, or from where the first
    began: then what either heard counts. It has no moments: a run may begin with it, not go on. Raises ValueError with
    a sentence for other shares than 0 to 1 and for weights that do not fit.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"The share of the second model is 0 to 1, not {share}.")
    one, other = renamed(first["average"]), renamed(second["average"])
    if {name: weight.shape for name, weight in one.items()} != {name: weight.shape for name, weight in other.items()}:
        raise ValueError("Only weights of one architecture can be blended.")
    average = {name: torch.lerp(weight, other[name], share) for name, weight in one.items()}
    told = {name: second[name] for name in ("recipe", "trained_on", "hours", "step", "before") if name in second}
    if (
        first is not second and first.get("before", (0.0, 0))[1] and first["before"] == second.get("before")
    ):  # neither went on from the other
        told |= {name: first[name] + second[name] for name in ("hours", "step")}
        lines = {*first["trained_on"].splitlines(), *second["trained_on"].splitlines()}
        told["trained_on"] = "\n".join(sorted(lines))
    return told | {"average": average, "optimizers": []}


def shifted(checkpoint: dict[str, Any], logits: float, gate: float) -> dict[str, Any]:
    """The checkpoint with `logits` added to those of every mask: below 0 less gets through of what has masks.

    `gate` is added to that of a gate: above 0 more of what the masks take out is believed to be there. Raises
    ValueError with a sentence where there is no gate to move.
    """
    spec = parse_recipe(checkpoint["recipe"]).network
    if gate and not spec.gate_residual:
        raise ValueError("This network has no gate (network.gate_residual).")
    weights = renamed(checkpoint["average"])
    bias = weights["head/output/bias"].clone()
    bias[: Network(spec).head.sizes[0]] += logits
    if gate:
        bias[-1] += gate  # of the last source's activity, which is put out last
    return checkpoint | {"average": weights | {"head/output/bias": bias}}


def main(
    first: Annotated[
        str, typer.Argument(help="A checkpoint.pt, an .onnx or a shipped model: what was gone on from, or another run.")
    ],
    second: Annotated[str, typer.Argument(help="The same of the run that went on.")],
    out: Annotated[Path, typer.Argument(help="Checkpoint to write, for training.export.")],
    share: Annotated[float, typer.Option(help="Of the second model, 0 to 1.")] = 0.5,
    logits: Annotated[float, typer.Option(help="Added to those of the masks: below 0 they let less through.")] = 0.0,
    gate: Annotated[float, typer.Option(help="Added to the logit of the gate: above 0 it opens sooner.")] = 0.0,
) -> None:
    """Blend the weights of two models of one architecture; the same one twice is that model."""
    try:
        one = read_beginning(first)
        blend = shifted(blended(one, one if second == first else read_beginning(second), share), logits, gate)
        partial = out.with_suffix(".partial")
        torch.save(blend, partial)
        partial.replace(out)
    except (OSError, RuntimeError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
