"""A thing with other options: what holds for the default ones holds for all that it takes."""

from __future__ import annotations

import dataclasses
import types
import typing
from itertools import combinations
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from difftool.errors import DifftoolError

NUMBERS = (0.0, 0.3, 0.5, 0.85, 1.0, 2.0)  # that are tried for a number
WHOLE = (1, 2, 3, 4, 5)
FEW = 3  # values of an option that are tried with those of another


T = TypeVar("T")


def variants(thing: T) -> list[tuple[str, T]]:
    """The thing with one option changed, or two of few values; with the options as text.

    Numbers, whole numbers, truth values and words are tried; other options stay as they are. A value that is refused,
    with a `DifftoolError` as difftool does or another error, is none that it takes.
    """
    if not dataclasses.is_dataclass(thing):
        return []
    kinds = get_type_hints(type(thing))
    choices = {f.name: _others(kinds[f.name], getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.init}
    few = {name: [v for v in values if not isinstance(v, float)][:FEW] for name, values in choices.items()}
    changes = [{name: value} for name, values in choices.items() for value in values]
    changes += [{a: v, b: w} for a, b in combinations(few, 2) for v in few[a] for w in few[b]]
    return [
        (",".join(f"{name}={value}" for name, value in change.items()), made)
        for change in changes
        if (made := _made(thing, change)) is not None
    ]


def _made(thing: T, change: dict[str, Any]) -> T | None:
    try:
        return dataclasses.replace(thing, **change)  # type: ignore[type-var]
    except (DifftoolError, ValueError, TypeError):
        return None


def _others(kind: Any, now: Any) -> list[Any]:
    """Values of that type but the one that it has."""
    return [value for value in _values(kind) if not (type(value) is type(now) and value == now)]


def _values(kind: Any) -> tuple[Any, ...]:
    origin = get_origin(kind)
    if origin is Literal:
        return get_args(kind)
    kinds = get_args(kind) if origin in (typing.Union, types.UnionType) else (kind,)
    if float in kinds:
        return NUMBERS
    if int in kinds:
        return WHOLE
    return (False, True) if bool in kinds else ()
