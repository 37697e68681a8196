"""What makes a recipe train in vain, refused with one sentence before anything is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.losses import LOSSES, Objective, Setup
from training.network.separators import SEPARATORS
from training.recipe_values import default
from training.tasks import TASKS

if TYPE_CHECKING:
    from training.recipe import Recipe


def loss_setup(recipe: Recipe) -> Setup:
    """What the losses of a recipe are built for."""
    spec = recipe.network
    return Setup(
        sources=tuple(spec.sources),
        references=TASKS[recipe.task].sources,
        sample_rate=spec.sample_rate,
        hop=spec.hop,
        audio_channels=spec.audio_channels,
        channels=spec.channels,
        seconds=recipe.mix.seconds - recipe.training.loss_skip_seconds,
        activity=spec.activity,
        exact_sum=_has_residual(recipe) or spec.consistency,
    )


def build_objective(recipe: Recipe) -> Objective:
    """What the recipe minimises; raises ValueError with one sentence where a loss lacks what it needs."""
    return Objective(recipe.losses, loss_setup(recipe))


def check_recipe(recipe: Recipe) -> None:
    """Raises ValueError with one sentence for the first thing that would train in vain."""
    _check_sources(recipe)
    _check_losses(recipe)
    build_objective(recipe)
    _check_reach(recipe)
    _check_ignored(recipe)


def _check_sources(recipe: Recipe) -> None:
    task, sources = TASKS[recipe.task], recipe.network.sources
    made = ", ".join(task.sources)
    if not sources or len(set(sources)) < len(sources):
        raise ValueError(f"network.sources are names, each once, not {sources}.")
    if len(sources) > len(task.sources) and not task.free_sources:
        raise ValueError(f"network.sources are {len(sources)}; mixtures of the task {recipe.task} hold {made} only.")
    for name in sources:
        if name not in task.sources and not task.free_sources:
            raise ValueError(f"network.sources holds {name}; mixtures of the task {recipe.task} hold {made} only.")
    if task.sources[0] not in sources and not task.free_sources:
        raise ValueError(f"The task {recipe.task} is scored by its {task.sources[0]}, which network.sources lacks.")
    if recipe.target not in sources:
        raise ValueError(f"target is one of network.sources, {', '.join(sources)}, not {recipe.target}.")
    if recipe.network.condition not in task.conditioned:
        known = " or ".join(each or "none" for each in task.conditioned)
        raise ValueError(f"network.condition is {known} in the task {recipe.task}: it has no other side information.")
    if recipe.network.audio_channels not in task.audio_channels:
        known = " or ".join(map(str, task.audio_channels))
        raise ValueError(f"network.audio_channels is {known} in the task {recipe.task}.")


def _check_losses(recipe: Recipe) -> None:
    if not recipe.losses:
        raise ValueError("The recipe has no losses: nothing would be learnt.")
    for spec in recipe.losses:
        for each in (spec, *spec.around):
            if each.loss in TASKS[recipe.task].unfit:
                raise ValueError(f"The task {recipe.task} has no use for {each.loss}; leave it out.")
    if not any(spec.every == 1 and spec.start == 0 for spec in recipe.losses):
        raise ValueError("One loss at least must count in every step: all of them have every or from.")


def _check_reach(recipe: Recipe) -> None:
    """What no loss reaches has a gradient of exactly zero: it would stay as it began."""
    reached = {name for spec in recipe.losses for name in spec.of}
    if any(LOSSES[spec.loss].reaches_all for spec in recipe.losses):
        reached = set(recipe.network.sources)
    if _has_residual(recipe) and reached:
        reached.add(recipe.network.sources[-1])  # which is what the others leave
    for name in recipe.network.sources:
        if name not in reached:
            raise ValueError(
                f"No loss reaches the source {name}: add one (of: {name}), or leave it out of network.sources."
            )
    if recipe.network.activity and not any(spec.loss in ("activity", "one_and_rest") for spec in recipe.losses):
        raise ValueError(
            "No loss reaches the activity head: add {loss: activity, weight: …}, or set network.activity: false."
        )


def _check_ignored(recipe: Recipe) -> None:
    """Keys that are set and change nothing. Those that the network's own spec refuses have been refused there."""
    network, mix = recipe.network, recipe.mix
    ignored: list[tuple[str, Any, str, str]] = [
        ("network", network, key, f"the separator {network.separator} does not read it")
        for key in SEPARATORS[network.separator].unread
    ]
    if not network.filter_bins:
        ignored.append(("network", network, "filter_frames", "network.filter_bins is 0: there are no filters"))
    if not recipe.rooms and hasattr(mix, "room_share"):
        ignored.append(("data.mix", mix, "room_share", "data.rooms is 0: there are no rooms"))
    if getattr(mix, "formant_shift", 1.0) == 0:
        ignored.append(("data.mix", mix, "formant_shift_share", "data.mix.formant_shift is 0"))
    for place, spec, key, reason in ignored:
        if getattr(spec, key) != default(type(spec).__dataclass_fields__[key]):
            raise ValueError(f"{place}.{key} changes nothing, because {reason}.")


def _has_residual(recipe: Recipe) -> bool:
    return recipe.network.residual_source
