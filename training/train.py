"""Trains a recipe: `python -m training.train training/recipes/denoise.yaml --data MANIFEST.csv --run FOLDER`.

The same script runs on a CPU, a GPU and, under `torchrun`, on many (lightning-fabric). A run folder holds the recipe,
what the run was made of, a log a line of JSON, the same as TensorBoard events, its last checkpoint and the best one by
valid loss; started again, it goes on from the last.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from rtsep.errors import InputError, RtsepError
from training.allocator import keep_memory
from training.checkpoints import exclusive_lock, read_last, revision, run_folder, save_checkpoint
from training.data.clip_store import data_hash
from training.data.datasets import DATASETS
from training.data.rows import gather_rows
from training.losses import Objective
from training.network import Network
from training.one_sentence import one_sentence
from training.onnx_weights import read_beginning
from training.optimizers import freeze_weights
from training.recipe import Recipe, read_recipe
from training.run_logger import RunLogger
from training.run_state import RunState, lookahead_dilation
from training.stereo_weights import in_stereo
from training.tasks import TASKS, ExampleStream, Task
from training.weight_transfer import warm_start

console = Console(stderr=True)
OBSERVED = 32  # mixtures that a separator may begin with statistics of
PATIENCE = 50  # steps one after another whose gradient is not finite


class Learner(torch.nn.Module):
    """What is compiled and distributed: estimates, activity logits and trunk of the network."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, wave: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        return self.network.estimate(wave, condition)


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Warm-up by steps, then flat, then linear to zero over the last `decay_share`; `progress` runs from 0 to 1."""
    spec = recipe.training
    warm = min(1.0, (step + 1) / spec.warmup_steps)
    return spec.learning_rate * warm * min(1.0, max(0.0, (1 - progress) / spec.decay_share))


def without_beginning(
    waves: Tensor, sources: Tensor, activity: Tensor, trunk: Tensor, hops: int, hop: int
) -> tuple[Tensor, ...]:
    """Waveforms `[..., samples]`, activity and trunk `[batch, hops (+ 1), …]` without their first `hops` hops."""
    return waves[..., hops * hop :], sources[..., hops * hop :], activity[:, hops:], trunk[:, hops:]


@torch.no_grad()
def validate(network: Network, objective: Objective, task: Task) -> dict[str, float]:
    """Means over the task's fixed batches: the loss, its parts, and the task's scores."""
    totals: dict[str, list[float]] = {}
    for sources, condition in zip(task.fixed, task.fixed_conditions, strict=True):
        waves, activity, trunk = network.estimate(sources.sum(1), condition)
        waves = waves.float()
        loss, parts = objective(waves, sources, activity=activity, trunk=trunk)
        estimates = dict(zip(network.spec.sources, waves.unbind(1), strict=True))
        references = dict(zip(task.sources, sources.unbind(1), strict=True))
        for name, value in {"loss": loss, **parts, **task.scores(estimates, references)}.items():
            totals.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in totals.items()}


def check_finite(values: dict[str, float], step: int, saved: int, stuck: int = 0) -> None:
    """Raises RtsepError with one sentence if a value is no number, or `stuck` steps had no finite gradient."""
    lost = [name for name, value in values.items() if not math.isfinite(value)]
    if lost or stuck >= PATIENCE:
        what = f"{lost[-1]} is {values[lost[-1]]}" if lost else f"{stuck} gradients one after another were not finite"
        kept = f"the checkpoint of step {saved} is kept" if saved else "there is no checkpoint yet"
        raise RtsepError(f"Stopped at step {step}: {what}; {kept}. Lower training.learning_rate, or look at the data.")


def train(
    recipe: Recipe,
    task: Task,
    run: Path,
    state: RunState,
    minutes: float | None,
    fabric: Fabric,
    logger: RunLogger,
    every: int = 250,
) -> dict[str, float]:
    """Trains until the schedule ends (`minutes` of wall clock, else the recipe's hours); returns the last scores.

    The main rank writes the log. Raises RtsepError with one sentence when the loss is no number any more, or a
    checkpoint cannot be written; the last good one is kept.
    """
    spec, hop, rate = recipe.training, recipe.network.hop, recipe.network.sample_rate
    network, average, objective = state.network, state.average, state.objective
    own = objective.own_weights
    learner: torch.nn.Module = Learner(network)
    criterion: Any = objective
    if spec.compile:
        console.print("Compiling the network and its losses: the first steps take some minutes.")
        learner, criterion = cast(torch.nn.Module, torch.compile(learner)), torch.compile(objective)
    model, *state.optimizers = fabric.setup(learner, *state.optimizers)

    arguments = (state.step, spec.batch, fabric.global_rank, fabric.world_size)
    if fabric.device.type == "cpu":
        loader = DataLoader(ExampleStream(task, *arguments), batch_size=None, num_workers=1, prefetch_factor=6)
        batches: Iterator[tuple[Tensor, Tensor | None]] = iter(loader)
    else:
        batches = task.batches(*arguments)
    seconds = spec.batch * fabric.world_size * task.samples / rate
    skipped = int(spec.loss_skip_seconds * rate / hop)
    if fabric.is_global_zero:
        logger.begin(state.step)
    began, shown, stuck, saved = time.monotonic() - state.spent, -1, 0, state.step
    sums: dict[str, list[float]] = {}
    scores: dict[str, float] = {}
    while True:
        state.spent = time.monotonic() - began
        progress = state.spent / 60 / minutes if minutes else state.step * seconds / 3600 / spec.hours
        if minutes and fabric.world_size > 1:  # clocks differ, and all must stop at the same step
            progress = fabric.broadcast(progress)
        done = progress >= 1
        if not done:
            for group in [group for optimizer in state.optimizers for group in optimizer.param_groups]:
                group["lr"] = learning_rate(recipe, state.step, progress) * group.get("share", 1.0)
            sources, condition = next(batches)
            estimates, activity, trunk = model(sources.sum(1), condition)
            if skipped:
                estimates, sources, activity, trunk = without_beginning(
                    estimates, sources, activity, trunk, skipped, hop
                )
            loss, parts = criterion(estimates, sources, objective.due(state.step, progress), activity, trunk)
            fabric.backward(loss)
            objective.update(estimates, sources, state.step, progress)
            for weight in own:  # not in what is distributed, and must be the same everywhere
                if weight.grad is not None:
                    weight.grad = cast(Tensor, fabric.all_reduce(weight.grad, reduce_op="mean"))
            norm = torch.nn.utils.clip_grad_norm_([*network.parameters(), *own], spec.clip)
            stuck = 0 if math.isfinite(norm) else stuck + 1
            for optimizer in state.optimizers:
                if not stuck:
                    optimizer.step()
                optimizer.zero_grad()
            state.step += 1
            average.update(network, state.before[1] + state.step)
            values = {name: float(value) for name, value in {"loss": loss.detach(), **parts}.items()}
            check_finite(values, state.step, saved, stuck)
            for name, value in values.items():
                sums.setdefault(name, []).append(value)
            logger.step(state.step, progress, seconds, sum(sums["loss"]) / len(sums["loss"]))
        if (done or state.step % every == 0) and state.step != shown:
            shown = state.step
            scores = validate(average.network, objective, task)
            check_finite({"the valid loss": scores["loss"]}, state.step, saved)
            if fabric.is_global_zero:
                hours = state.step * seconds / 3600
                entry: dict[str, Any] = {
                    "step": state.step,
                    "minutes": round(state.spent / 60, 2),
                    "hours": round(hours, 3),
                    "times_real_time": round(logger.speed(state.step, seconds), 2),
                    "learning_rate": learning_rate(recipe, state.step, progress),
                }
                entry["train"] = {name: round(sum(values) / len(values), 5) for name, values in sums.items()}
                entry["valid"] = {name: round(value, 5) for name, value in scores.items()}
                logger.write(entry)
                state.best = save_checkpoint(run, state.checkpoint(hours, scores), scores["loss"], state.best)
            sums, saved = {}, state.step
        if done:
            return scores


def devices() -> int | str:
    """What Fabric shall train on: the processes that torchrun began on this machine, else every GPU, else one CPU."""
    begun = os.environ.get("LOCAL_WORLD_SIZE")
    return int(begun) if begun else "auto" if torch.cuda.is_available() else 1


def nodes() -> int:
    """How many machines torchrun says take part; one without it."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))


def main(
    recipe: Annotated[Path, typer.Argument(help="A YAML of training/recipes.")],
    run: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, log, recipe. Resumed if there.")],
    data: Annotated[Path | None, typer.Option(help="A manifest.csv.")] = None,
    speech: Annotated[list[Path], typer.Option(help="A folder of clean speech; may be repeated.")] = [],  # noqa: B006
    noise: Annotated[list[Path], typer.Option(help="A folder of noise; may be repeated.")] = [],  # noqa: B006
    dataset: Annotated[
        list[str],
        typer.Option(help=f"A public dataset, NAME=PATH; NAME is {', '.join(DATASETS)}; may be repeated."),
    ] = [],  # noqa: B006
    dataset_hours: Annotated[float, typer.Option(help="Take at most this much speech, and noise, of a dataset.")] = 20,
    minutes: Annotated[float | None, typer.Option(help="End the schedule after this much wall clock.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded recordings and simulated rooms.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the training loop.")] = None,
    precision: Annotated[str, typer.Option(help="As lightning-fabric: 32-true, bf16-mixed, …")] = "32-true",
    begin: Annotated[
        str | None, typer.Option(help="Start a new run from the weights of this checkpoint.pt, .onnx or shipped model.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Validate and keep a checkpoint after this many steps.")] = 250,
    change: Annotated[
        list[str],
        typer.Option("--set", help="Change a value of the recipe: training.batch=4; see training/recipe_changes.py."),
    ] = [],  # noqa: B006
) -> None:
    """Train a recipe. Never opens a recording of the test split."""
    keep_memory()
    with one_sentence():
        parsed = read_recipe(recipe, change)
        kind = TASKS[parsed.task]
        rows = gather_rows(data, speech, noise, dataset, dataset_hours)
        if not rows:
            raise InputError(
                "No recordings: give --data MANIFEST.csv, --dataset NAME=PATH, or --speech FOLDER and --noise FOLDER."
            )
        kind.check_rows(rows)
        beginning = in_stereo(read_beginning(begin), parsed.network) if begin else None
        if threads:
            torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        network = Network(parsed.network)
        if not freeze_weights(network, parsed.training):
            raise InputError(f"Nothing would learn: training.train_only is {parsed.training.train_only!r}.")
        if beginning:  # refuses here what cannot be, not after the decoding
            warm_start(network, beginning["average"], lookahead_dilation(beginning["recipe"]))
        fabric = Fabric(accelerator="auto", devices=devices(), num_nodes=nodes(), precision=precision)  # type: ignore[arg-type]
        fabric.launch()
        main_one = fabric.is_global_zero
        with run_folder(run) if main_one else nullcontext(), exclusive_lock(run) if main_one else nullcontext():
            fabric.barrier()  # the others touch nothing before the folder is theirs
            kept = read_last(run, fabric.device)
            task = kind(parsed, rows, cache, fabric.device)
            state = RunState(parsed, kind.trained_on(rows, parsed.options), fabric.device, console, beginning)
            if kept:
                state.go_on(kept)
            elif not beginning and state.network.separator.observes:
                state.observe(task.examples(0, OBSERVED).sum(1))
            if main_one:
                about = {"revision": revision(), "data": data_hash(rows), "torch": torch.__version__}
                (run / "recipe.yaml").write_text(parsed.text, encoding="utf-8")
                (run / "about.json").write_text(
                    json.dumps(about | {"device": str(fabric.device)}, indent=1), encoding="utf-8"
                )
            with RunLogger(run, console) as logger:
                train(parsed, task, run, state, minutes, fabric, logger, every)


if __name__ == "__main__":
    typer.run(main)
