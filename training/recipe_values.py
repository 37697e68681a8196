"""What a recipe says, checked value by value against the defaults in the code: one sentence for each fault."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from typing import Any


def check_keys(place: str, given: Iterable[Any], known: Iterable[str]) -> None:
    """Raises ValueError for the first key of `given` that is not `known`, with the nearest that is."""
    known = list(known)
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            advice = f"do you mean {near[0]}?" if near else f"the keys are {', '.join(known)}."
            raise ValueError(f"{place} has no key {key}; {advice}")


def check_value(place: str, value: Any, usual: Any) -> None:
    """Raises ValueError where `value` is of another kind than `usual`, its default: a number, a word, yes or no, …

    None stands for "not given" where that is the default. A list may stand for a tuple.
    """
    if usual is None:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{place} is a number, not {value!r}.")
    elif isinstance(usual, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{place} is true or false, not {value!r}.")
    elif isinstance(usual, (int, float)):
        check_number(place, value)
        if isinstance(usual, int) and int(value) != value:
            raise ValueError(f"{place} is a whole number, not {value!r}.")
    elif isinstance(usual, str):
        if not isinstance(value, str):
            raise ValueError(f"{place} is a word, not {value!r}.")
    elif isinstance(usual, (tuple, list)):
        if not isinstance(value, (tuple, list)):
            raise ValueError(f"{place} is a list, not {value!r}.")
        for each in value:
            if usual:
                check_value(place, each, usual[0])
    elif isinstance(usual, dict):
        if not isinstance(value, dict):
            raise ValueError(f"{place} is a table of names and numbers, not {value!r}.")
        for key, each in value.items():
            check_number(f"{place}.{key}", each)


def check_number(place: str, value: Any) -> None:
    """Raises ValueError unless `value` is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{place} is a number, not {value!r}.")


def check_dataclass(place: str, spec: type, given: Any) -> None:
    """Raises ValueError unless `given` is a table whose keys and values fit the fields of the dataclass `spec`."""
    if not isinstance(given, dict):
        raise ValueError(f"{place} is a table of keys and values, not {given!r}.")
    known = {each.name: each for each in fields(spec)}
    check_keys(place, given, known)
    for key, value in given.items():
        usual, kind = default(known[key]), str(known[key].type)  # annotations are text
        if usual is None and value is not None and "float" in kind:
            check_number(f"{place}.{key}", value)
        check_value(f"{place}.{key}", value, usual)
        if kind.startswith("tuple[") and "..." not in kind and len(value) != len(usual):
            raise ValueError(f"{place}.{key} is a range of {len(usual)} numbers, not {value!r}.")


def default(each: Field[Any]) -> Any:
    """The default of a field of a dataclass; None if it has none."""
    if each.default is not MISSING:
        return each.default
    return each.default_factory() if each.default_factory is not MISSING else None
