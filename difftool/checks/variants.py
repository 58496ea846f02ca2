"""A sampler with other options: what holds for the default ones holds for all that it takes."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from difftool.errors import DifftoolError
from difftool.samplers.base import Sampler

NUMBERS = (0.0, 0.3, 0.5, 0.85, 1.0, 2.0)  # that are tried for a number
WHOLE = (1, 2, 3, 4, 5)


def variants(sampler: Sampler) -> Iterator[tuple[str, Sampler]]:
    """The sampler with one option changed, for the values of every option that it takes; with the option as text.

    Numbers, whole numbers, truth values and words are tried; other options stay as they are. A value that is refused
    with a `DifftoolError` is none that it takes.
    """
    kinds = get_type_hints(type(sampler))
    for field in dataclasses.fields(sampler):
        now = getattr(sampler, field.name)
        for value in _values(kinds[field.name]) if field.init else ():
            if type(value) is type(now) and value == now:
                continue
            try:
                yield f"{field.name}={value}", replace(sampler, **{field.name: value})
            except DifftoolError:
                continue


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
