"""A recipe: one YAML file that says how a model is made. It travels inside checkpoints and ONNX metadata."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from training.data.augment.offline_augment import Copy
from training.data.song_mixer import RemixSpec
from training.data.speech_mixer import MixSpec
from training.data.stem_mixer import StemMixSpec
from training.losses import LOSSES, LossSpec, read_losses
from training.network import NetworkSpec
from training.optimizers import OPTIMIZERS
from training.recipe_changes import apply_changes
from training.recipe_migration import migrated
from training.recipe_values import check_dataclass, check_keys, check_value
from training.tasks import TASKS


@dataclass(frozen=True)
class TrainingSpec:
    """`hours` of audio in the schedule; `decay_share` of it, at the end, lowers the learning rate to zero.

    `train_only` is how the names of the weights begin that learn ("head/output"); all else stays as a run began
    (but for the statistics of batch norms, which move with what is heard).
    `filterbank_learning_rate_share` is the share of the learning rate that encoder and decoder get; at 0 they stay the
    analytic ones, which give back what no mask touches. The first `loss_skip_seconds` of every piece count for nothing:
    a network knows no past there, and a song has one. Before a `carried_share` of the pieces a slow trunk has heard
    another piece, as in a stream that goes on where the scene changes; before the rest, nothing.
    """

    seed: int = 0
    batch: int = 8
    hours: float = 1.0
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    decay_share: float = 0.5
    weight_decay: float = 1e-3
    clip: float = 3.0
    ema: float = 0.999
    compile: bool = False
    optimizer: str = "adamw"  # or "muon"
    filterbank_learning_rate_share: float = 1.0
    train_only: str = ""
    loss_skip_seconds: float = 0.0
    carried_share: float = 0.0
    bfloat16: bool = False  # the separator in bfloat16, where the processor knows it: twice as fast there

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(sorted(OPTIMIZERS))}, not {self.optimizer!r}.")
        if not isinstance(self.train_only, str):
            raise ValueError(
                f"train_only is how the names of weights begin, such as head/output, not {self.train_only!r}."
            )
        if not 0 <= (share := self.filterbank_learning_rate_share) <= 1:
            raise ValueError(f"filterbank_learning_rate_share is 0 to 1, not {share}.")
        if not 0 <= self.carried_share <= 1:
            raise ValueError(f"training.carried_share is 0 to 1, not {self.carried_share}.")
        for name in ("batch", "hours", "learning_rate", "warmup_steps", "decay_share", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"training.{name} is a number above 0, not {getattr(self, name)}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"training.ema is the share of the old average that stays, 0 to below 1, not {self.ema}.")


KEYS = ("recipe_version", "name", "target", "task", "network", "data", "losses", "training")


@dataclass(frozen=True)
class Recipe:
    """Everything but the data's place: `training/recipes/denoise.yaml` and `musdb.yaml` are the commented forms.

    `copies` of every song with a voice are made ahead of time, in recipes for songs. `options` are the task's own.
    """

    name: str
    target: str
    network: NetworkSpec
    mix: MixSpec | RemixSpec | StemMixSpec
    losses: tuple[LossSpec, ...]
    training: TrainingSpec
    task: str = "speech"
    rooms: int = 0
    speech_corpora: dict[str, float] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    options: Any = None
    text: str = ""

    def same_as(self, other: Recipe) -> bool:
        """Whether both say the same, in whatever words, order of losses, or version."""
        one, two = (replace(each, text="", losses=_ordered(each.losses)) for each in (self, other))
        return one == two


def _ordered(losses: tuple[LossSpec, ...]) -> tuple[LossSpec, ...]:
    return tuple(sorted(losses, key=lambda spec: spec.label))


def read_recipe(file: Path, changes: list[str] | None = None) -> Recipe:
    """Reads a recipe to train with, with `changes` such as `training.batch=4` laid over it (see `recipe_changes`).

    Old keys are told on stderr, with their new names. Raises ValueError with one sentence for unknown keys, values that
    cannot be, and whatever would train in vain (see `recipe_checks`).
    """
    from training.recipe_checks import check_recipe

    given = _table(load_yaml(Path(file).read_text(encoding="utf-8")))
    tree, notes = apply_changes(given, changes or [], load_yaml)
    for note in notes:
        print(f"{Path(file).name}: {note} The old form is read for one version more.", file=sys.stderr)
    recipe = _parse(tree, yaml.safe_dump(tree, sort_keys=False))
    check_recipe(recipe)
    return recipe


def parse_recipe(text: str) -> Recipe:
    """The recipe that a YAML text of any version describes, as it stands in models and checkpoints.

    Raises ValueError with one sentence for unknown keys or values that cannot be; whether it can be trained is not
    looked at.
    """
    given = _table(load_yaml(text))
    tree, _ = migrated(given)
    return _parse(tree, text if tree == given else yaml.safe_dump(tree, sort_keys=False))


def _table(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"A recipe is a table of keys and values, not {given!r}.")
    return given


def _parse(tree: dict[str, Any], text: str) -> Recipe:
    check_keys("The recipe", tree, KEYS)
    for key in ("name", "target"):
        if not isinstance(tree.get(key), str) or not tree[key]:
            raise ValueError(f"The recipe needs a {key}.")
    task = tree.get("task", "speech")
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {task!r}.")
    kind = TASKS[task]
    data = dict(_section(tree, "data"))
    own = {each.name for each in fields(kind.Options)}
    check_keys("data", data, ("mix", *kind.data_keys, *own))
    usual: dict[str, Any] = {"rooms": 0, "speech_corpora": {}, "copies": []}
    for key in kind.data_keys:
        if key in data and key != "copies":
            check_value(f"data.{key}", data[key], usual[key])
    check_dataclass("data", kind.Options, {key: value for key, value in data.items() if key in own})
    for copy in data.get("copies") or []:
        check_dataclass("data.copies", Copy, copy)
    network = _section(tree, "network")
    mix, training = data.get("mix") or {}, _section(tree, "training")
    for place, spec, given in (
        ("network", NetworkSpec, NetworkSpec.own_keys(network)),
        ("data.mix", kind.mix, mix),
        ("training", TrainingSpec, training),
    ):
        check_dataclass(place, spec, given)
    recipe = Recipe(
        name=tree["name"],
        target=tree["target"],
        network=NetworkSpec.from_section(network),
        mix=kind.mix(**{key: tuple(value) if isinstance(value, list) else value for key, value in mix.items()}),
        losses=read_losses(tree.get("losses") or [], LOSSES),
        training=TrainingSpec(**training),
        task=task,
        rooms=data.get("rooms", 0),
        speech_corpora=data.get("speech_corpora") or {},
        copies=[Copy(**copy) for copy in data.get("copies") or []],
        options=kind.Options(**{key: value for key, value in data.items() if key in own}),
        text=text,
    )
    if not 0 <= recipe.training.loss_skip_seconds < recipe.mix.seconds:
        raise ValueError(f"training.loss_skip_seconds is a part of a piece of {recipe.mix.seconds} s, in seconds.")
    if recipe.training.carried_share and recipe.network.separator != "slow_fast":
        raise ValueError("training.carried_share needs a slow trunk that remembers: network.separator slow_fast.")
    return recipe


def _section(tree: dict[str, Any], key: str) -> dict[str, Any]:
    found = tree.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{key} is a table of keys and values, not {found!r}.")
    return found


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 8e-4 for a word, because it lacks a dot; YAML 1.2 and everybody else for a number.

    A key that stands twice in a table is an error; PyYAML would take the last.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"The recipe holds {twice[0]} twice, line {node.start_mark.line + 1} on.")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+|\d*\.\d+|\d+\.)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_yaml(text: str) -> Any:
    """What a YAML text says; raises ValueError with one sentence if it is none."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"This is no YAML: {' '.join(str(error).split())}.") from None
