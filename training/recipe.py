"""A recipe: one YAML file that says how a model is made. It travels inside checkpoints and ONNX metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from training.data.augment.offline_augment import Copy
from training.data.song_mixer import RemixSpec
from training.data.speech_mixer import MixSpec
from training.losses import ObjectiveSpec, SongObjectiveSpec
from training.network import NetworkSpec
from training.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class TrainingSpec:
    """`hours` of audio in the schedule; `decay_share` of it, at the end, lowers the learning rate to zero.

    `only` is how the names of the weights begin that learn ("separator.head"); all else stays as a run began
    (but for the statistics of batch norms, which move with what is heard).
    `filterbank` is the share of the learning rate that encoder and decoder get; at 0 they stay the analytic ones, which
    give back what no mask touches. The first `cold` seconds of every piece count for nothing: a network knows no past
    there, and a song has one.
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
    filterbank: float = 1.0
    only: str = ""
    cold: float = 0.0
    half: bool = False  # the separator in bfloat16, where the processor knows it: twice as fast there

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {sorted(OPTIMIZERS)}, not {self.optimizer!r}.")
        if not isinstance(self.only, str):
            raise ValueError(f"only is how the names of weights begin, such as separator.head, not {self.only!r}.")
        if not 0 <= self.filterbank <= 1:
            raise ValueError(f"filterbank is a share of the learning rate, 0 to 1, not {self.filterbank}.")


# What a recipe is about, by `data.kind`: how it is mixed, and what is minimised.
KINDS: dict[str, tuple[type[MixSpec] | type[RemixSpec], type[ObjectiveSpec] | type[SongObjectiveSpec]]] = {
    "speech": (MixSpec, ObjectiveSpec),
    "songs": (RemixSpec, SongObjectiveSpec),
}


@dataclass(frozen=True)
class Recipe:
    """Everything but the data's place: `training/recipes/denoise.yaml` and `karaoke.yaml` are the commented forms.

    `copies` of every song with a voice are made ahead of time, in recipes for songs.
    """

    name: str
    target: str
    network: NetworkSpec
    mix: MixSpec | RemixSpec
    objective: ObjectiveSpec | SongObjectiveSpec
    training: TrainingSpec
    kind: str = "speech"
    rooms: int = 0
    speech_corpora: dict[str, float] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    text: str = ""


def read_recipe(file: Path, changes: list[str] | None = None) -> Recipe:
    """Reads a recipe, with `changes` such as `training.batch=4` laid over it.

    Raises ValueError with one sentence for unknown keys or values that cannot be.
    """
    tree = _tree(Path(file).read_text(encoding="utf-8"))
    for change in changes or []:
        place, _, value = change.partition("=")
        *path, last = place.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = _tree(value)
    return parse_recipe(yaml.safe_dump(tree, sort_keys=False))


def parse_recipe(text: str) -> Recipe:
    """The recipe that a YAML text describes; raises ValueError as `read_recipe`."""
    tree = _tree(text)
    try:
        data = dict(tree.get("data") or {})
        if data.setdefault("kind", "speech") not in KINDS:
            raise ValueError(f"data.kind must be one of {', '.join(KINDS)}, not {data['kind']!r}.")
        mix_spec, objective_spec = KINDS[data["kind"]]
        data["copies"] = [Copy(**copy) for copy in data.get("copies") or []]
        recipe = Recipe(
            name=tree["name"],
            target=tree["target"],
            network=NetworkSpec.from_section(tree.get("network") or {}),
            mix=mix_spec(**_tuples(data.pop("mix", None))),
            objective=objective_spec(**_tuples(tree.get("objective"))),
            training=TrainingSpec(**(tree.get("training") or {})),
            text=text,
            **data,
        )
        for place, spec in (
            ("network", recipe.network),
            ("data.mix", recipe.mix),
            ("objective", recipe.objective),
            ("training", recipe.training),
        ):
            _check_numbers(place, spec)
        if not 0 <= recipe.training.cold < recipe.mix.seconds:
            raise ValueError(f"training.cold is a part of a piece of {recipe.mix.seconds} s, in seconds.")
        return recipe
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The recipe does not fit: {error}.") from None


def _check_numbers(place: str, spec: Any) -> None:
    """Raises ValueError where something else stands for what is a number unless a recipe says so."""
    for each in fields(spec):
        value, usual = getattr(spec, each.name), each.default
        if type(usual) in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"{place}.{each.name} is a number, not {value!r}.")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 8e-4 for a word, because it lacks a dot; YAML 1.2 and everybody else for a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+|\d*\.\d+|\d+\.)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _tree(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"This is no YAML: {' '.join(str(error).split())}.") from None


def _tuples(branch: dict[str, Any] | None) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in (branch or {}).items()}
