"""Changes laid over a recipe from the command line: `--set PLACE=VALUE`, the value as in YAML.

training.batch=4                                  a key of a section
losses.snr speech.weight=0.2                      an option of a loss, which is named as in the log
losses.snr noise=null                             that loss taken out
losses+={loss: si_sdr, of: speech, weight: 0.1}   one more
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from training.recipe_migration import RENAMED, migrated, rename


def apply_changes(
    given: dict[str, Any], changes: list[str], load: Callable[[str], Any]
) -> tuple[dict[str, Any], list[str]]:
    """The recipe `given`, with `changes`, in today's form, and a sentence for every old key in the one or the others.

    `load` reads a value. Raises ValueError with one sentence for changes that are none.
    """
    tree, notes = copy.deepcopy(given), []
    notes += rename(tree)
    of_losses = [change for change in changes if change.startswith("losses")]
    for change in [change for change in changes if not change.startswith("losses")]:
        place, equals, value = change.partition("=")
        if not equals or not place:
            raise ValueError(f"--set {change}: a change is PLACE=VALUE, such as training.batch=4.")
        if place in RENAMED:
            notes.append(f"{place} is now called {RENAMED[place]}.")
            place = RENAMED[place]
        if place.split(".")[0] == "objective" and "losses" in tree:
            raise ValueError(f"--set {change}: this recipe has losses, such as --set 'losses.snr speech.weight=0.1'.")
        _set(tree, place.split("."), load(value), change)
    tree, more = migrated(tree)
    for change in of_losses:
        _change_loss(tree, change, load)
    return tree, notes + more


def _set(branch: dict[str, Any], path: list[str], value: Any, change: str) -> None:
    for part in path[:-1]:
        if branch.get(part) is None:
            branch[part] = {}
        branch = branch[part]
        if not isinstance(branch, dict):
            raise ValueError(f"--set {change}: {part} is no table of keys and values.")
    branch[path[-1]] = value


def _change_loss(tree: dict[str, Any], change: str, load: Callable[[str], Any]) -> None:
    place, _, value = change.partition("=")
    losses = tree.get("losses")
    if place == "losses":
        tree["losses"] = load(value)
        return
    if not isinstance(losses, list):
        raise ValueError(f"--set {change}: the recipe has no list of losses.")
    if place == "losses+":
        losses.append(load(value))
        return
    section, _, rest = place.partition(".")
    label, _, option = rest.rpartition(".") if "." in rest else (rest, "", "")
    index = {_label(entry): index for index, entry in enumerate(losses)}.get(label)
    if section != "losses" or index is None:
        raise ValueError(f"--set {change}: the losses are {', '.join(_label(entry) for entry in losses)}.")
    if option:
        losses[index][option] = load(value)
    elif (found := load(value)) is None:
        del losses[index]
    else:
        losses[index] = found


def _label(entry: Any) -> str:
    """As `LossSpec.label`, of an entry that has not been checked yet."""
    if not isinstance(entry, dict):
        return str(entry)
    of = entry.get("of") or []
    return str(entry.get("name") or " ".join([str(entry.get("loss")), *([of] if isinstance(of, str) else of)]))
