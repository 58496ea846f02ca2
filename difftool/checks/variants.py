"""Objects with other options, for which the contract must hold as well."""

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

NUMBERS = (0.0, 0.3, 0.5, 0.85, 1.0, 2.0)  # values to try for a number
WHOLE = (1, 2, 3, 4, 5)
FEW = 3  # values of an option to combine with those of another


T = TypeVar("T")


def others_hold(
    choices: Sequence[tuple[str, T]],
    patience: float,
    checks: Sequence[Callable[[T], str | None]],
) -> str:
    """Run checks on choices of options and count them; `AssertionError` at the first failure.

    choices: as returned by `variants`. checks: each returns None or what is wrong.
    patience: seconds for all but the first two.
    """
    probes = list(product(choices, checks))
    done = 0
    for (text, variant), check in patient(probes, patience, 2):
        done += 1
        problem = check(variant)
        assert problem is None, f"with {text}: {problem}"
    if done == len(probes):
        rest = ""
    else:
        rest = f", {len(probes) - done} skipped for lack of time"
    return f"{done} checks{rest}"


def variants(thing: T) -> list[tuple[str, T]]:
    """Copies with one option changed, or two of them, each with the changes as text.

    Varies floats, integers, booleans and choices of words; other options stay as they are.
    Values that are refused, with a `DifftoolError` or another error, are skipped.
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
    seen = {repr(thing)}  # repr, since options such as arrays do not support ==
    out: list[tuple[str, T]] = []
    for change in changes:
        variant = changed(thing, **change)
        if variant is not None and repr(variant) not in seen:
            seen.add(repr(variant))
            out.append((",".join(f"{name}={value}" for name, value in change.items()), variant))
    return out


def changed(thing: T, **options: Any) -> T | None:
    """A copy with other values of options; None if they are refused."""
    try:
        return dataclasses.replace(thing, **options)  # type: ignore[type-var]
    except (DifftoolError, ValueError, TypeError):
        return None


def _others(kind: Any, now: Any) -> list[Any]:
    """Values to try for an option of that type, other than the current one."""
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
