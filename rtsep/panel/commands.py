"""What a page may ask for: methods of a tab's controller that are marked as commands, called by JSON objects.

>>> class Lamp:
...     @command
...     def light(self, on: bool) -> None:
...         print("light" if on else "dark")
>>> call(Lamp(), "light", {"on": True})
light
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from rtsep.errors import InputError

Method = TypeVar("Method", bound=Callable[..., Any])


def command(method: Method) -> Method:
    """Pages may call this method; what they send must fit the types of its arguments, all of which they must send."""
    method.is_command = True  # type: ignore[attr-defined]
    return method


def call(tab: object, name: object, values: object) -> None:
    """Do what a page asks ``tab`` for. Raises InputError for what is no command, and what the command raises."""
    method = getattr(type(tab), name, None) if isinstance(name, str) else None
    if not getattr(method, "is_command", False) or not isinstance(values, dict):
        raise InputError("This is no command of the panel.")
    assert method is not None
    wanted = {key: kind for key, kind in get_type_hints(method).items() if key != "return"}
    if values.keys() != wanted.keys() or not all(_fits(values[key], kind) for key, kind in wanted.items()):
        raise InputError(f"The command {name} does not have the values that it needs.")
    method(tab, **values)


def _fits(value: object, kind: Any) -> bool:
    """Whether a value of JSON is of a type; a bool is no number here."""
    if get_origin(kind) in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(one, get_args(kind)[0]) for one in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return type(value) is (get_origin(kind) or kind)
