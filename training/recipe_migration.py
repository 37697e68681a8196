"""Recipes of earlier versions, brought to today's: the one place that knows what keys were once called.

A recipe says its `recipe_version`; those that say none are of version 1, as are all inside models and checkpoints made
before there were versions. `RENAMED` says what keys were called; `MIGRATIONS` holds, for versions after which more
than names changed, a function that takes the tree to the next.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from training.recipe_values import check_keys, check_value

VERSION = 3

# Keys that have other names since version 2 or 3, and mean the same.
RENAMED = {
    "network.rest": "network.residual_source",
    "network.gated": "network.gate_residual",
    "network.ahead": "network.max_lookahead_dilation",
    "training.cold": "training.loss_skip_seconds",
    "data.kind": "task",
    "data.mix.throat": "data.mix.formant_shift",
    "data.mix.throat_share": "data.mix.formant_shift_share",
    "data.mix.aside_share": "data.mix.pan_share",
    "data.mix.kinds.free": "data.mix.kinds.no_vocals",
    "data.mix.kinds.alone": "data.mix.kinds.vocals_only",
    # since version 3
    "training.half": "training.bfloat16",
    "training.only": "training.train_only",
    "training.filterbank": "training.filterbank_learning_rate_share",
    "data.mix.second_share": "data.mix.second_stem_share",
    "data.mix.narrow_share": "data.mix.lowpass_share",
    "data.mix.odd_no_noise_share": "data.mix.degraded_no_noise_share",
}


def migrated(tree: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A recipe of any version as one of today's, and a sentence for every old key in it. `tree` itself is left alone.

    Raises ValueError with one sentence for a version that there is not, and for an old key beside its new one.
    """
    tree, notes = copy.deepcopy(tree), []
    version = tree.get("recipe_version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"recipe_version is 1 to {VERSION} here, not {version!r}: a newer one needs a newer rtsep.")
    notes += rename(tree)
    for number in range(version, VERSION):
        notes += MIGRATIONS[number](tree) if number in MIGRATIONS else []
    if "objective" in tree:  # in a recipe that claims to be new
        notes += losses_from_objective(tree)
    return {"recipe_version": VERSION, **{key: value for key, value in tree.items() if key != "recipe_version"}}, notes


def rename(tree: dict[str, Any]) -> list[str]:
    """Gives old keys their new names, in place; returns a sentence for each."""
    notes = []
    for old, new in RENAMED.items():
        table, key = _find(tree, old)
        if table is None:
            continue
        place, last = _find(tree, new)
        if place is not None:
            raise ValueError(f"{old} is the old name of {new}, which is given too: leave one out.")
        if old.rpartition(".")[0] == new.rpartition(".")[0]:  # in its place: the order of kinds decides what is drawn
            entries = [(last if name == key else name, value) for name, value in table.items()]
            table.clear()
            table.update(entries)
        else:
            tree[new] = table.pop(key)
        notes.append(f"{old} is now called {new}.")
    return notes


def _find(tree: dict[str, Any], place: str) -> tuple[dict[str, Any] | None, str]:
    """The table in which the key `place` ("data.mix.level") stands, None where it does not, and its last word."""
    *sections, key = place.split(".")
    table: Any = tree
    for section in sections:
        table = table.get(section) if isinstance(table, dict) else None
    return (table if isinstance(table, dict) and key in table else None), key


def losses_from_objective(tree: dict[str, Any]) -> list[str]:
    """Puts the list `losses` in the place of the table `objective`, in place; one without it had its defaults."""
    given = tree.pop("objective", None)
    if "losses" in tree:
        if given is None:
            return []
        raise ValueError("objective is the old form of losses, which are given too: leave one out.")
    if not isinstance(given or {}, dict):
        raise ValueError("objective is a table of keys and values.")
    network = tree.get("network") or {}
    songs = tree.get("task") == "songs"
    sources = network.get("sources") or (["accompaniment", "vocals"] if songs else ["speech", "noise"])
    make = _song_losses if songs else _speech_losses
    tree["losses"] = make(given or {}, sources, network)
    return ["objective is now losses, a list; see training/recipes for its form."] if given is not None else []


def _speech_losses(given: dict[str, Any], sources: list[str], network: dict[str, Any]) -> list[dict[str, Any]]:
    usual = {"snr": 0.1, "noise": 0.3, "spectral": 1.0, "complex_share": 0.3, "intelligibility": 0.5}
    usual |= {"consistency": 0.0, "activity": 0.0, "perceptual": 0.0, "perceptual_from": 0.7}
    said = _laid_over(usual | {"proxy": "pesq"}, given)
    proxies = {"pesq": "pesq_proxy", "metricgan": "metricgan"}
    if said["proxy"] not in proxies:
        raise ValueError(f"objective.proxy must be one of {', '.join(proxies)}, not {said['proxy']!r}.")
    speech = sources[0]
    losses = [{"loss": "snr", "of": speech, "weight": said["snr"]}]
    if len(sources) > 1:
        losses.append({"loss": "snr", "of": sources[1], "weight": _product(said["snr"], said["noise"])})
        free = not (network.get("residual_source") or network.get("consistency"))  # else the part never moved
        losses.append({"loss": "consistency", "weight": said["consistency"] if free else 0})
    share = said["complex_share"]
    losses.append({"loss": "compressed_spectrum", "of": speech, "weight": said["spectral"], "complex_share": share})
    losses.append({"loss": "one_minus_estoi", "of": speech, "weight": said["intelligibility"]})
    late = {"of": speech, "weight": said["perceptual"], "from": said["perceptual_from"]}
    losses.append({"loss": proxies[said["proxy"]], **late})
    losses.append({"loss": "activity", "weight": said["activity"] if network.get("activity") else 0})
    return [loss for loss in losses if loss["weight"]]


def _song_losses(given: dict[str, Any], sources: list[str], network: dict[str, Any]) -> list[dict[str, Any]]:
    usual = {"snr": 0.1, "vocals": 0.5, "left": 0.0, "ceiling": 30.0, "stretch": 0.0, "free_from": 0.0}
    usual |= {"spectral": 10.0, "complex_share": 0.3, "activity": 0.0}
    said = _laid_over(usual | {"windows": [2048, 512]}, given)
    accompaniment, vocals = [*sources, "vocals"][:2]
    # Before `free_from` pieces without vocals did not count.
    where = {"where": vocals, "where_until": said["free_from"]} if said["free_from"] else {}
    losses = []
    for source, weight in ((accompaniment, 1.0), (vocals, said["vocals"])):
        weight = _product(said["snr"], weight)
        losses.append(
            {"loss": "snr", "of": source, "weight": weight, "ceiling": said["ceiling"], "stretch": said["stretch"]}
            | where
        )
    frames = {"windows": said["windows"], "overlap": 0.0, "complex_share": said["complex_share"]}
    for source, weight in ((accompaniment, 1.0), (vocals, said["vocals"])):
        weight = _product(said["spectral"], weight, 1 / (1 + said["vocals"]))
        losses.append({"loss": "compressed_spectrum", "of": source, "weight": weight} | frames | where)
    losses.append({"loss": "vocal_interference", "of": accompaniment, "weight": said["left"], "against": vocals})
    losses.append({"loss": "activity", "weight": said["activity"] if network.get("activity") else 0, "floor": 30.0})
    return [loss for loss in losses if loss["weight"]]


def _laid_over(usual: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    check_keys("objective", given, usual)
    for key, value in given.items():
        check_value(f"objective.{key}", value, float(usual[key]) if isinstance(usual[key], float) else usual[key])
    return usual | given


def _product(*factors: float) -> float:
    """Without the last bits: 0.1 × 0.3 is 0.03 to whoever reads it."""
    total = 1.0
    for factor in factors:
        total *= factor
    return round(total, 12)


MIGRATIONS: dict[int, Callable[[dict[str, Any]], list[str]]] = {1: losses_from_objective}
