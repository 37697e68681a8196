"""One entry of a recipe's list of losses, checked as it is read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from training.losses.loss import Loss
from training.recipe_values import check_keys, check_number, check_value

COMMON = ("loss", "of", "weight", "from", "every", "where", "where_until", "unless", "name", "around")


@dataclass(frozen=True)
class LossSpec:
    """`weight` × the loss `loss` of the sources `of`, from the share `start` (in YAML `from`) of the schedule on.

    `every` n-th step only, n times as strong, saves time where a loss is dear. `where` names a source: examples in
    which it is silent do not count, or (with `where_until`) do not count before that share of the schedule; `unless`
    names one that must be silent. `options` are those of the loss, `around` what a wrapper stands around. `name` is
    what the log calls it.
    """

    loss: str
    of: tuple[str, ...] = ()
    weight: float = 1.0
    start: float = 0.0
    every: int = 1
    where: str = ""
    where_until: float | None = None
    unless: str = ""
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    around: tuple[LossSpec, ...] = ()

    @property
    def label(self) -> str:
        """What the log, errors and `--set` call this entry."""
        return self.name or " ".join([self.loss, *self.of])


def read_losses(entries: Any, known: Mapping[str, type[Loss]], inside: str = "") -> tuple[LossSpec, ...]:
    """The entries of a recipe's list (or of what a wrapper, `inside`, stands around).

    Raises ValueError with one sentence for whatever cannot be: unknown losses and options, wrong values, duplicates.
    """
    place = f"around of {inside}" if inside else "losses"
    if not isinstance(entries, (list, tuple)):
        raise ValueError(f"{place} is a list of losses, such as - {{loss: snr, of: speech, weight: 0.1}}.")
    specs = tuple(_read(entry, known, place, inside) for entry in entries)
    labels = [spec.label for spec in specs]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(f"{place} holds {twice[0]} twice: leave one out, or give it a name of its own (name: …).")
    return specs


def _read(entry: Any, known: Mapping[str, type[Loss]], place: str, inside: str) -> LossSpec:
    if not isinstance(entry, dict) or not isinstance(entry.get("loss"), str):
        raise ValueError(
            f"An entry of {place} names its loss, such as {{loss: snr, of: speech}}, and {entry!r} does not."
        )
    name = entry["loss"]
    if name not in known:
        raise ValueError(f"There is no loss {name}; the losses are {', '.join(sorted(known))}.")
    kind, options = known[name], defaults(known[name])
    check_keys(f"The loss {name}", entry, [*COMMON, *options])
    of = entry.get("of", ())
    of = (of,) if isinstance(of, str) else tuple(of) if isinstance(of, (list, tuple)) else of
    if not isinstance(of, tuple) or not all(isinstance(each, str) for each in of) or len(set(of)) < len(of):
        raise ValueError(f"of is a source or a list of sources, each once, not {entry['of']!r} (loss {name}).")
    label = " ".join([name, *of])
    if inside:
        if extra := [key for key in entry if key not in ("loss", "weight", *options)]:
            raise ValueError(f"{extra[0]} belongs to {inside} itself, not to {name} inside it.")
    elif kind.per_source != bool(of):
        needed = "needs a source (of: …)" if kind.per_source else "is of the whole and takes no source (of)"
        raise ValueError(f"The loss {name} {needed}.")
    numbers: dict[str, Any] = {"weight": 1.0, "from": 0.0, "every": 1, "where_until": None}
    for key in numbers:
        if key in entry:
            check_number(f"{key} of {label}", entry[key])
            numbers[key] = entry[key]
    if numbers["weight"] <= 0:
        raise ValueError(
            f"weight of {label} is a number above 0, not {numbers['weight']}; leave out what shall not count."
        )
    if not 0 <= numbers["from"] < 1:
        raise ValueError(f"from of {label} is a share of the schedule, 0 to 1, not {numbers['from']}.")
    if numbers["every"] < 1 or int(numbers["every"]) != numbers["every"]:
        raise ValueError(f"every of {label} is a number of steps, 1 or more, not {numbers['every']}.")
    if numbers["where_until"] is not None and (not entry.get("where") or not 0 <= numbers["where_until"] <= 1):
        raise ValueError(f"where_until of {label} is a share of the schedule, 0 to 1, and goes with a source (where).")
    for key in ("where", "unless", "name"):
        check_value(f"{key} of {label}", entry.get(key, ""), "")
    if "." in entry.get("name", "") or hasattr(torch.nn.ModuleDict, entry.get("name") or label):
        raise ValueError(f"A loss cannot be named {entry['name']!r}; choose words without a dot.")
    for key, usual in options.items():
        if key in entry:
            check_value(f"{key} of {label}", entry[key], usual)
    if kind.alone and len(of) > 1:
        raise ValueError(f"The loss {name} is of one source: give each of {', '.join(of)} an entry of its own.")
    if kind.wrapper != bool(entry.get("around")):
        needed = "stands around others (around: [{loss: snr}])" if kind.wrapper else "stands around nothing"
        raise ValueError(f"The loss {name} {needed}.")
    return LossSpec(
        loss=name,
        of=of,
        weight=float(numbers["weight"]),
        start=float(numbers["from"]),
        every=int(numbers["every"]),
        where=entry.get("where", ""),
        where_until=None if numbers["where_until"] is None else float(numbers["where_until"]),
        unless=entry.get("unless", ""),
        name=entry.get("name", ""),
        options={key: _plain(entry.get(key, usual)) for key, usual in options.items()},
        around=_around(entry, known, name),
    )


def _around(entry: dict[str, Any], known: Mapping[str, type[Loss]], name: str) -> tuple[LossSpec, ...]:
    if not entry.get("around"):
        return ()
    specs = read_losses(entry["around"], known, name)
    if whole := [spec.loss for spec in specs if not known[spec.loss].per_source or known[spec.loss].wrapper]:
        raise ValueError(f"{name} stands around losses of one source, and {whole[0]} is none.")
    return specs


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def defaults(kind: type[Loss]) -> dict[str, Any]:
    """The options of a loss with their defaults: what its `__init__` takes beside `setup` and `around`."""
    found = inspect.signature(kind.__init__).parameters
    return {name: each.default for name, each in found.items() if name not in ("self", "setup", "around")}
