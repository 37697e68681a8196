"""Where a training step's time goes: mixer, network, losses, optimizer, validation, and what that makes an hour.

    python -m benchmarks.training_speed [RECIPE] --data MANIFEST.csv [--steps N] [--threads N] [--json PATH]

Runs the parts of `training.train` one after the other, each under a clock of its own, on real batches. Times are
processor seconds (on a GPU: seconds until it is done), which a busy machine stretches less than the wall clock. Mixing
happens in a process of its own beside the loop, so on two cores and more it costs nothing until it is the slowest.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.machine import environment
from rtsep.errors import InputError
from training.allocator import keep_memory
from training.data.manifest import Row
from training.data.rows import gather_rows
from training.recipe import Recipe, read_recipe
from training.run_state import RunState
from training.tasks import TASKS
from training.train import Learner, validate

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).with_name("results") / "training_speed.json"
PARTS = ("mixer", "network forward", "losses", "late losses", "network backward", "optimizer")
EVERY = 250  # steps from one validation to the next, as training.train has it
WARM_UP = 2


class Stopwatch:
    """Seconds of each named part, one number a use: of this process's processors, or of a GPU."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, list[float]] = {}

    def now(self) -> float:
        """Seconds."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = self.now()
        yield
        self.seconds.setdefault(part, []).append(self.now() - began)

    def medians(self, skip: int = WARM_UP) -> dict[str, float]:
        """Of each part, without the first uses: they compile, and fill caches."""
        return {part: statistics.median(times[skip:] or times) for part, times in self.seconds.items()}


def measure(recipe: Recipe, rows: list[Row], cache: Path | None, device: torch.device, steps: int) -> dict[str, Any]:
    """Seconds a step of each part, seconds of loading and of one validation, and hours of audio an hour of one core."""
    spec, clock = recipe.training, Stopwatch(device)
    began = time.perf_counter()
    task = TASKS[recipe.task](recipe, rows, cache, device)
    loading = time.perf_counter() - began

    state = RunState(recipe, "", device, Console(stderr=True))
    network, objective = state.network, state.objective
    model: Callable[..., Any] = torch.compile(Learner(network)) if spec.compile else Learner(network)
    criterion: Callable[..., Any] = torch.compile(objective) if spec.compile else objective
    # Step 0, on which every loss is due that the schedule has come to.
    first, last = objective.due(0, 0.0), objective.due(0, 1.0)
    for step in range(steps + WARM_UP):
        with clock("mixer"):
            sources = task.examples(step, spec.batch)
        with clock("network forward"):
            outputs = model(sources.sum(1))  # estimates, activity, trunk
        # A leaf in between parts the gradient of the losses from the network's.
        leaves = [each.detach().requires_grad_() for each in outputs]
        if last != first:
            with clock("late losses"):
                _lose(criterion, leaves, sources, last)
            for leaf in leaves:
                leaf.grad = None
        with clock("losses"):
            _lose(criterion, leaves, sources, first)
        with clock("network backward"):
            made = [
                (out, leaf.grad)
                for out, leaf in zip(outputs, leaves, strict=True)
                if leaf.grad is not None and out.requires_grad
            ]
            torch.autograd.backward([out for out, _ in made], [gradient for _, gradient in made])
        with clock("optimizer"):
            torch.nn.utils.clip_grad_norm_([*network.parameters(), *objective.own_weights], spec.clip)
            for optimizer in state.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            state.average.update(network, step + 1)
    with clock("validation"):
        validate(state.average.network, objective, task)

    seconds = clock.medians()
    audio = spec.batch * task.samples / recipe.network.sample_rate
    validation = seconds.pop("validation")
    early = sum(seconds[part] for part in seconds if part != "late losses") + validation / EVERY
    after = early - seconds["losses"] + seconds.get("late losses", seconds["losses"])
    share = min((each.start for each in recipe.losses if each.start), default=1.0)
    step_seconds = share * early + (1 - share) * after
    return {
        "audio_seconds": audio,
        "loading_seconds": loading,
        "validation_seconds": validation,
        "parts": seconds,
        "step_seconds": step_seconds,
        "hours_an_hour": audio / step_seconds,
        "hours_an_hour_beside_mixer": audio / max(step_seconds - seconds["mixer"], seconds["mixer"]),
    }


def _lose(criterion: Callable[..., Any], leaves: list[Tensor], sources: Tensor, due: Any) -> None:
    """The losses and their gradients."""
    estimates, activity, trunk = leaves
    criterion(estimates, sources, due, activity, trunk)[0].backward()


def table(name: str, found: dict[str, Any]) -> Table:
    """Parts down; seconds a step, share, and how many times real time each would allow alone."""
    shown = Table(title=f"{name}: {found['audio_seconds']:.1f} s of audio a step")
    for title in ("part", "s a step", "share", "× real time"):
        shown.add_column(title, justify="left" if title == "part" else "right")
    lines = {part: found["parts"][part] for part in PARTS if part in found["parts"]}
    lines["validation"] = found["validation_seconds"] / EVERY
    lines["whole step"] = found["step_seconds"]
    for part, seconds in lines.items():
        share = seconds / found["step_seconds"]
        shown.add_row(part, f"{seconds:.4f}", f"{share:.0%}", f"{found['audio_seconds'] / max(seconds, 1e-9):.0f}")
    return shown


def main(
    recipe: Annotated[Path, typer.Argument(help="A YAML of training/recipes.")] = ROOT
    / "training/recipes/denoise.yaml",
    data: Annotated[Path | None, typer.Option(help="A manifest.csv.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded recordings, as training.train has it.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps to measure.")] = 10,
    threads: Annotated[int, typer.Option(min=1, help="Threads of every part.")] = 1,
    change: Annotated[list[str], typer.Option("--set", help="Change a value of the recipe.")] = [],  # noqa: B006
    json_path: Annotated[Path, typer.Option("--json", help="Write all numbers here.")] = RESULT,
) -> None:
    """Print where the time of a training step goes."""
    from training.evaluation.evaluate import write_json
    from training.one_sentence import one_sentence

    keep_memory()
    with one_sentence():
        try:
            parsed = read_recipe(recipe, change)
            rows = gather_rows(data, [], [])
            TASKS[parsed.task].check_rows(rows)
        except (OSError, ValueError) as error:
            raise InputError(str(error)) from None
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        found = measure(parsed, rows, cache, device, steps)
        console = Console()
        console.print(table(parsed.name, found))
        console.print(
            f"Banks and valid batches were there after {found['loading_seconds']:.1f} s. {found['hours_an_hour']:.0f} h"
            f" of audio an hour of one core, {found['hours_an_hour_beside_mixer']:.0f} with the mixer on another."
        )
        content = {"format": 1, **environment(), "recipe": parsed.text, "threads": threads, "device": device.type}
        write_json(json_path, {**content, "steps": steps, **found})


if __name__ == "__main__":
    typer.run(main)
