"""A thing with other options: what holds for the default ones holds for all that it takes."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Any, Literal, TypeVar, get_args, get_origin

from difftool.checks.patience import patient
from difftool.errors import DifftoolError
from difftool.names.specs import options_of

NUMBERS = (0.0, 0.3, 0.5, 0.85, 1.0, 2.0)  # that are tried for a number
WHOLE = (1, 2, 3, 4, 5)
FEW = 3  # values of an option that are tried with those of another


T = TypeVar("T")


def others_hold(
    choices: Sequence[tuple[str, T]],
    patience: float,
    looks: Sequence[Callable[[T], str | None]],
) -> str:
    """How often choices of options were looked at; `AssertionError` with what a look says of one, if it says something.

    choices: as `variants` gives them; patience: seconds after which no more are looked at, but for the first two.
    """
    probes = list(product(choices, looks))
    looked = 0
    for (text, variant), wrong in patient(probes, patience, 2):
        looked += 1
        said = wrong(variant)
        assert said is None, f"with {text} {said}"
    if looked == len(probes):
        rest = ""
    else:
        rest = f", no time for the other {len(probes) - looked}"
    return f"{looked} looks{rest}"


def variants(thing: T) -> list[tuple[str, T]]:
    """The thing with one option changed, or two of few values; with the options as text.

    Numbers, whole numbers, truth values and words are tried; other options stay as they are. A value that is refused,
    with a `DifftoolError` as difftool does or another error, is none that it takes.
    """
    if not dataclasses.is_dataclass(thing):
        return []
    choices = {o.name: _others(o.type, getattr(thing, o.name)) for o in options_of(type(thing))}
    few = {
        name: [v for v in values if not isinstance(v, float)][:FEW]
        for name, values in choices.items()
    }
    changes = [{name: value} for name, values in choices.items() for value in values]
    changes += [{a: v, b: w} for a, b in combinations(few, 2) for v in few[a] for w in few[b]]
    seen = {repr(thing)}  # options may be what == is not for, arrays say
    out: list[tuple[str, T]] = []
    for change in changes:
        made = changed(thing, **change)
        if made is not None and repr(made) not in seen:
            seen.add(repr(made))
            out.append((",".join(f"{name}={value}" for name, value in change.items()), made))
    return out


def changed(thing: T, **options: Any) -> T | None:
    """The thing with other values of options; None if it refuses them."""
    try:
        return dataclasses.replace(thing, **options)  # type: ignore[type-var]
    except (DifftoolError, ValueError, TypeError):
        return None


def _others(kind: Any, now: Any) -> list[Any]:
    """Values of that type but the one that it has."""
    return [value for value in _values(kind) if not (type(value) is type(now) and value == now)]


def _values(kind: Any) -> tuple[Any, ...]:
    origin = get_origin(kind)
    if origin is Literal:
        return get_args(kind)
    if origin in (typing.Union, types.UnionType):
        kinds = get_args(kind)
    else:
        kinds = (kind,)
    if float in kinds:
        return NUMBERS
    if int in kinds:
        return WHOLE
    if bool in kinds:
        return (False, True)
    return ()
