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
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from rtsep.errors import InputError
from training.bfloat16 import knows_half
from training.checkpoints import alone, keep, load_weights, named_weights, revision
from training.data.clip_store import build_banks, data_hash
from training.data.datasets import DATASETS, read_dataset
from training.data.manifest import Row, read_manifest, scan_folder
from training.data.rooms import simulate_rooms
from training.data.song_clips import load_clips, pair_songs
from training.data.song_mixer import RemixSpec, SongMixer
from training.data.speech_mixer import Mixer, MixSpec
from training.export import heard
from training.losses import Objective, ObjectiveSpec, SongObjective, SongObjectiveSpec
from training.losses.si_sdr import si_sdr
from training.losses.songs import song_scores
from training.network import Network
from training.onnx_weights import read_beginning
from training.optimizers import build_optimizers, learning
from training.recipe import Recipe, parse_recipe, read_recipe
from training.run_logger import Journal
from training.weight_transfer import parted, warm_moments, warm_start

console = Console(stderr=True)
MUSIC = ("instrumental", "accompaniment")  # without voices: fit to be noise
USED = {"speech": ("speech", "noise", *MUSIC), "songs": ("vocals", "speech", *MUSIC)}  # of rows, by kind of recipe
PASSAGES = 48  # of the valid songs


class Batches(IterableDataset):
    """The mixer's batches from step `first` on, made in the data worker beside the training loop."""

    def __init__(self, mixer: Mixer | SongMixer, first: int, size: int, rank: int, ranks: int):
        self.mixer, self.arguments = mixer, (first, size, rank, ranks)

    def __iter__(self) -> Iterator[Tensor]:
        return self.mixer.batches(*self.arguments)


def gather_rows(
    data: Path | None, speech: list[Path], noise: list[Path], datasets: Sequence[str] = (), hours: float = 20.0
) -> list[Row]:
    """Rows of the manifest, the plain folders and the datasets (`NAME=PATH`), without those of the test split."""
    rows = read_manifest(data) if data else []
    # A folder may hold what the manifest keeps for testing.
    hidden = {row.path.resolve() for row in rows if row.split == "test"}
    rows += [row for folder in speech for row in scan_folder(folder, "speech", hidden=hidden)]
    rows += [row for folder in noise for row in scan_folder(folder, "noise", hidden=hidden)]
    rows += [row for dataset in datasets for row in read_dataset(dataset, hours)]
    return [row for row in rows if row.split != "test"]


def check_kinds(rows: list[Row], kind: str = "speech") -> None:
    """Raises ValueError with one sentence unless there is speech and noise both to train on and to validate with.

    For `songs` it is vocals and accompaniment.
    """
    if kind == "songs":
        for split in ("train", "valid"):
            for part in ("vocals", "accompaniment"):
                if not any(row.split == split and row.kind == part for row in rows):
                    raise ValueError(
                        f"There is no {part} in the {split} split: give two songs at least, as --data MANIFEST.csv, "
                        "--dataset musdb18=PATH or --dataset stems=PATH."
                    )
        return
    for split in ("train", "valid"):
        for kind in ("speech", "noise"):
            if not any(row.split == split and row.kind == kind for row in rows):
                raise ValueError(
                    f"There is no {kind} in the {split} split: give two files of speech and of noise at least."
                )


def build_mixer(
    recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
) -> Mixer:
    """The mixer of one split; raises ValueError if that split lacks speech or noise."""
    rate = recipe.network.sample_rate
    chosen = [row for row in rows if row.split == split]
    speech, noise, music = (
        {
            rate: bank.to(device)
            for rate, bank in build_banks([row for row in chosen if row.kind in kinds], weights, power, cache).items()
        }
        for kinds, weights, power in (
            (("speech",), recipe.speech_corpora, 1.0),
            (("noise",), {}, 0.5),
            (MUSIC, {}, 1.0),
        )
    )
    rooms = simulate_rooms(recipe.rooms, rate, 16384, seed, cache) if recipe.rooms else None
    assert isinstance(recipe.mix, MixSpec)
    return Mixer(speech, noise, music, recipe.mix, rate, seed, rooms, recipe.network.hop)


def build_song_mixer(
    recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
) -> SongMixer:
    """The mixer of the songs of one split; copies, rooms and speech are for training only."""
    spec, rate = recipe.mix, recipe.network.sample_rate
    assert isinstance(spec, RemixSpec)
    chosen, train = [row for row in rows if row.split == split], split == "train"
    clips = load_clips(pair_songs(chosen), rate, recipe.copies if train else (), cache)
    speech, rooms = {}, None
    if train and spec.kinds.get("speech"):
        speech = build_banks([row for row in chosen if row.kind == "speech"], recipe.speech_corpora, 1.0, cache)
    if train and recipe.rooms:
        rooms = simulate_rooms(recipe.rooms, rate, 16384, seed, cache)
    return SongMixer(clips, speech, spec, rate, seed, rooms, recipe.network.hop, device)


def valid_batches(
    recipe: Recipe, rows: list[Row], cache: Path | None, device: torch.device
) -> tuple[list[Tensor], Callable[[Tensor, Tensor], dict[str, Tensor]]]:
    """Fixed batches of the valid split and what they are scored by: the same whatever the run.

    Speech and noise are seeded apart from training; songs are passages as they are, and some without their vocals.
    """
    if recipe.kind == "speech":
        mixer = build_mixer(recipe, rows, "valid", cache, 987654321, device)
        return [mixer.batch(index, 16) for index in range(4)], speech_scores
    passages = build_song_mixer(recipe, rows, "valid", cache, 987654321, device).passages(PASSAGES)
    if recipe.network.audio_channels == 1:
        passages = passages.mean(2)
    free = passages[::6] * torch.tensor([1.0, 0.0], device=device).view(2, *[1] * (passages.ndim - 2))
    return [*passages.split(8), free], song_scores


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Warm-up by steps, then flat, then linear to zero over the last `decay_share`; `progress` runs from 0 to 1."""
    spec = recipe.training
    warm = min(1.0, (step + 1) / spec.warmup_steps)
    return spec.learning_rate * warm * min(1.0, max(0.0, (1 - progress) / spec.decay_share))


def warmed(estimate: Tensor, sources: Tensor, activity: Tensor, hops: int, hop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Waveforms `[..., samples]` and activity `[batch, hops, sources]` without their first `hops` hops."""
    return estimate[..., hops * hop :], sources[..., hops * hop :], activity[:, hops:]


class Learner(torch.nn.Module):
    """What is compiled and distributed: estimates and activity logits of the network."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.estimate(wave)


class Average:
    """Exponential moving average of the weights: what is validated, checkpointed and exported."""

    def __init__(self, network: Network, decay: float):
        self.decay = decay
        self.network = Network(network.spec).to(next(network.parameters()).device).requires_grad_(False).eval()
        self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)  # statistics of batch norms, if there are any


def build_objective(recipe: Recipe) -> Objective | SongObjective:
    """The loss that fits the recipe's kind."""
    spec, rate = recipe.objective, recipe.network.sample_rate
    if isinstance(spec, ObjectiveSpec):
        return Objective(spec, rate)
    assert isinstance(spec, SongObjectiveSpec)
    return SongObjective(spec, rate)


def speech_scores(estimate: Tensor, sources: Tensor) -> dict[str, Tensor]:
    """SI-SDR of speech and its gain, dB, where speech and noise both are."""
    present = sources.square().mean(-1).amin(-1) > 1e-7
    after = si_sdr(estimate[:, 0], sources[:, 0])[present]
    before = si_sdr(sources.sum(1), sources[:, 0])[present]
    return {"si_sdr": after.mean(), "si_sdri": (after - before).mean()}


@torch.no_grad()
def validate(
    network: Network,
    objective: Objective | SongObjective,
    batches: list[Tensor],
    score: Callable[[Tensor, Tensor], dict[str, Tensor]] = speech_scores,
) -> dict[str, float]:
    """Means over fixed batches: the loss, its parts, and the scores."""
    totals: dict[str, list[float]] = {}
    for sources in batches:
        estimate, activity = network.estimate(sources.sum(1))
        estimate = estimate.float()
        loss, parts = objective(estimate, sources, late=True, activity=activity)
        found = {"loss": loss, **parts, **score(estimate, sources)}
        for name, value in found.items():
            totals.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in totals.items()}


def train(
    recipe: Recipe,
    rows: list[Row],
    run: Path,
    minutes: float | None,
    cache: Path | None,
    fabric: Fabric,
    journal: Journal,
    every: int = 250,
    begin: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Trains until the schedule ends (`minutes` of wall clock, else the recipe's hours); returns the last scores.

    A new run goes on from the weights and moments of the checkpoint `begin`, if there is one: see `warm_start`.
    The main rank writes the `journal`.
    """
    spec = recipe.training
    checkpoint = run / "checkpoint.pt"
    torch.manual_seed(spec.seed)
    build = build_mixer if recipe.kind == "speech" else build_song_mixer
    mixer: Mixer | SongMixer = build(recipe, rows, "train", cache, spec.seed, fabric.device)
    fixed, score = valid_batches(recipe, rows, cache, fabric.device)

    network = Network(recipe.network)
    learning(network, spec)
    network.mixed = spec.half and knows_half(fabric.device)
    if spec.half and not network.mixed:
        console.print("This processor knows no bfloat16: the separator trains in float32.")
    optimizers = build_optimizers(network, spec)
    before = heard(begin) if begin else (0.0, 0)
    lists = [begin["trained_on"]] if begin else []  # what was heard before is listed too, licences and all
    if begin:
        ahead = parse_recipe(begin["recipe"]).network.max_lookahead_dilation
        warm_start(network, begin["average"], ahead)
        if [parted(kept) for kept in begin["optimizers"]] == [parted(each.state_dict()) for each in optimizers]:
            for optimizer, kept in zip(optimizers, begin["optimizers"], strict=True):
                warm_moments(optimizer, kept, network, ahead)
    objective = build_objective(recipe).to(fabric.device)
    step, spent, best = 0, 0.0, math.inf
    average = Average(network.to(fabric.device), spec.ema)
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=fabric.device, weights_only=True)
        load_weights(network, state["weights"])
        load_weights(average.network, state["average"])
        if [parted(kept) for kept in state["optimizers"]] != [parted(each.state_dict()) for each in optimizers]:
            raise InputError(
                f"{run} was begun with other weights that learn; use another folder and --begin {checkpoint}."
            )
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        objective.load_state_dict(state.get("objective", {}), strict=False)  # a proxy may join a run that goes on
        step, spent, before = state["step"], state["spent"], state.get("before", before)
        lists = [state["trained_on"]]
        console.print(f"Going on from step {step}, {spent / 60:.1f} min.")
        if state["recipe"] == recipe.text:
            best = state.get("best", best)
        else:  # and its losses may be of another kind
            console.print(
                "The recipe differs from the one this run was begun with; the checkpoint will name the new one."
            )
    lines = dict.fromkeys(line for each in (*lists, described(rows, recipe.kind)) for line in each.splitlines())
    trained_on = "\n".join(sorted(lines))
    learner: torch.nn.Module = Learner(network)
    if spec.compile:
        learner = cast(torch.nn.Module, torch.compile(learner))
    model, *optimizers = fabric.setup(learner, *optimizers)
    criterion = torch.compile(objective) if spec.compile else objective

    arguments = (step, spec.batch, fabric.global_rank, fabric.world_size)
    if fabric.device.type == "cpu":
        loader = DataLoader(Batches(mixer, *arguments), batch_size=None, num_workers=1, prefetch_factor=6)
        batches: Iterator[Tensor] = iter(loader)
    else:
        batches = mixer.batches(*arguments)
    seconds = spec.batch * fabric.world_size * mixer.size / recipe.network.sample_rate
    cold = int(spec.cold * recipe.network.sample_rate / recipe.network.hop)
    mono = recipe.kind == "songs" and recipe.network.audio_channels == 1
    if fabric.is_global_zero:
        journal.begin(step)
    began, count, shown = time.monotonic() - spent, 0, -1
    sums: dict[str, float] = {}
    scores: dict[str, float] = {}
    while True:
        spent = time.monotonic() - began
        progress = spent / 60 / minutes if minutes else step * seconds / 3600 / spec.hours
        if minutes and fabric.world_size > 1:  # clocks differ, and all must stop at the same step
            progress = fabric.broadcast(progress)
        done = progress >= 1
        if not done:
            for group in [group for optimizer in optimizers for group in optimizer.param_groups]:
                group["lr"] = learning_rate(recipe, step, progress) * group.get("share", 1.0)
            sources = next(batches)
            if mono:
                sources = sources.mean(2)
            estimate, activity = model(sources.sum(1))
            if cold:
                estimate, sources, activity = warmed(estimate, sources, activity, cold, recipe.network.hop)
            loss, parts = criterion(estimate, sources, objective.late_at(progress), activity)
            fabric.backward(loss)
            objective.teach(estimate, sources, step, progress)
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), spec.clip)
            for optimizer in optimizers:
                if math.isfinite(norm):
                    optimizer.step()
                optimizer.zero_grad()
            step += 1
            average.update(network, step)
            for name, value in {"loss": loss.detach(), **parts}.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            count += 1
            journal.step(step, progress, seconds, sums["loss"] / count)
        if (done or step % every == 0) and step != shown:
            shown = step
            scores = validate(average.network, objective, fixed, score)
            if fabric.is_global_zero:
                entry: dict[str, Any] = {
                    "step": step,
                    "minutes": round(spent / 60, 2),
                    "hours": round(step * seconds / 3600, 3),
                    "times_real_time": round(journal.speed(step, seconds), 2),
                    "learning_rate": learning_rate(recipe, step, progress),
                }
                entry["train"] = {name: round(value / max(count, 1), 5) for name, value in sums.items()}
                entry["valid"] = {name: round(value, 5) for name, value in scores.items()}
                journal.enter(entry)
                content = {"weights": named_weights(network), "average": named_weights(average.network), "step": step}
                content |= {"spent": spent, "hours": step * seconds / 3600, "before": before}
                content["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
                content["objective"] = objective.state_dict()
                content |= {"recipe": recipe.text, "trained_on": trained_on, "scores": scores}
                best = keep(run, content, scores["loss"], best)
            sums, count = {}, 0
        if done:
            return scores


def described(rows: list[Row], kind: str = "speech") -> str:
    """Corpora, minutes and licences of the train rows, one a line: what a model card must list."""
    minutes: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if row.split == "train" and row.kind in USED[kind]:
            key = (row.kind, row.corpus, row.licence)
            minutes[key] = minutes.get(key, 0.0) + row.seconds / 60
    return "\n".join(f"{kind}: {name}, {m:.0f} min, {licence}" for (kind, name, licence), m in sorted(minutes.items()))


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
    change: Annotated[list[str], typer.Option("--set", help="Change a value of the recipe: training.batch=4.")] = [],  # noqa: B006
) -> None:
    """Train a recipe. Never opens a recording of the test split."""
    try:
        parsed = read_recipe(recipe, change)
        rows = gather_rows(data, speech, noise, dataset, dataset_hours)
        if not rows:
            raise ValueError(
                "No recordings: give --data MANIFEST.csv, --dataset NAME=PATH, or --speech FOLDER and --noise FOLDER."
            )
        check_kinds(rows, parsed.kind)
        beginning = read_beginning(begin) if begin else None
        network = Network(parsed.network)
        if not learning(network, parsed.training):
            raise ValueError(f"Nothing would learn: training.only is {parsed.training.only!r}.")
        if beginning:
            warm_start(network, beginning["average"], parse_recipe(beginning["recipe"]).network.max_lookahead_dilation)
        build_objective(parsed)  # refuses here what cannot be, not after the decoding
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    fabric = Fabric(accelerator="auto", devices="auto" if torch.cuda.is_available() else 1, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    run.mkdir(parents=True, exist_ok=True)
    about = {"revision": revision(), "data": data_hash(rows), "torch": torch.__version__, "device": str(fabric.device)}
    try:
        with alone(run) if fabric.is_global_zero else nullcontext(), Journal(run, console) as journal:
            (run / "recipe.yaml").write_text(parsed.text, encoding="utf-8")
            (run / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            train(parsed, rows, run, minutes, cache, fabric, journal, every=every, begin=beginning)
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
