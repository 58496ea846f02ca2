"""Named things with options, as text: `name:key=value,key=value`.

Values are typed from the fields of the dataclass (or the parameters of the function) that the name stands for: numbers,
true/false, words, `none`, lists as `a+b+c`, and names of other things where a field holds one. A name or value with
a colon, comma or equals sign stands in single or double quotes.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from difftool.errors import DifftoolError, unknown
from difftool.plugins import Entry, registry

MISSING = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """One option of a named thing: its name, type and default (`MISSING` if it has none)."""

    name: str
    type: Any
    default: Any


def options_of(target: Any) -> list[Option]:
    """The options of a dataclass (its fields) or of a function (its parameters)."""
    if dataclasses.is_dataclass(target) and isinstance(target, type):
        hints = typing.get_type_hints(target)
        return [Option(f.name, hints[f.name], _default(f)) for f in dataclasses.fields(target) if f.init]
    space = vars(sys.modules[target.__module__])
    parameters = inspect.signature(target).parameters.values()
    return [Option(p.name, _annotation(p, space), p.default) for p in parameters]


def _annotation(p: inspect.Parameter, space: dict[str, Any]) -> Any:
    """The type of a parameter; annotations are text under `from __future__ import annotations`."""
    if p.annotation is MISSING:
        return str
    return eval(p.annotation, space) if isinstance(p.annotation, str) else p.annotation


def make(axis: str, spec: str) -> Any:
    """The object that a spec of that axis describes; `DifftoolError` for unknown names, options or values."""
    name, given = parse(spec)
    entry = registry().find(axis, name)
    target = entry.load()
    values = {key: _typed(entry, target, key, text) for key, text in given.items()}
    for option in options_of(target):
        if option.default is MISSING and option.name not in values:
            raise DifftoolError(f"{entry.axis[:-1]} {name!r} needs the option {option.name!r} ({spell(option.type)})")
    return target(**values)


def parse(spec: str) -> tuple[str, dict[str, str]]:
    """(name, options as text) of a spec; `DifftoolError` if it is not one."""
    head, *rest = _split(spec, ":", most=1)
    name = _unquote(head.strip())
    if not name:
        raise DifftoolError(f"{spec!r} has no name; write name or name:key=value,key=value")
    given: dict[str, str] = {}
    for part in _split(rest[0], ",") if rest else []:
        key, *value = _split(part, "=", most=1)
        key = key.strip().replace("-", "_")
        if not value or not key:
            raise DifftoolError(f"{part.strip()!r} in {spec!r} is not key=value; quote values with : , or =")
        if key in given:
            raise DifftoolError(f"{spec!r} gives {key} twice")
        given[key] = _unquote(value[0].strip())
    return name, given


def spell(kind: Any) -> str:
    """A type as a person reads it."""
    if get_origin(kind) is Literal:
        return " | ".join(map(str, get_args(kind)))
    if get_origin(kind) in (typing.Union, types.UnionType):
        return " | ".join("none" if a is type(None) else spell(a) for a in get_args(kind))
    if get_origin(kind) is tuple:
        return f"{spell(get_args(kind)[0])}+{spell(get_args(kind)[0])}+..."
    return {int: "whole number", float: "number", bool: "true | false", str: "text"}.get(
        kind, getattr(kind, "__name__", str(kind)).lower()
    )


def _default(f: dataclasses.Field[Any]) -> Any:
    if f.default is not dataclasses.MISSING:
        return f.default
    return MISSING if f.default_factory is dataclasses.MISSING else f.default_factory()


def _typed(entry: Entry, target: Any, key: str, text: str) -> Any:
    options = {option.name: option for option in options_of(target)}
    if key not in options:
        raise unknown(f"option of {entry.axis[:-1]} {entry.name!r} named", key, options)
    try:
        return _convert(text, options[key].type)
    except ValueError:
        kind = spell(options[key].type)
        raise DifftoolError(f"{entry.axis[:-1]} {entry.name!r} takes {key}={kind}, got {text!r}") from None


def _convert(text: str, kind: Any) -> Any:
    """The text as a value of that type; `ValueError` if it is none."""
    origin = get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(text, get_args(kind))
    if origin is Literal:
        matches = [value for value in get_args(kind) if str(value) == text]
        if not matches:
            raise ValueError(text)
        return matches[0]
    if origin is tuple:
        return tuple(_convert(part, get_args(kind)[0]) for part in text.split("+"))
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]
    if kind is float:
        value = float(text)
        if math.isnan(value):
            raise ValueError(text)
        return value
    if kind in (int, str):
        return kind(text)
    return make(_axis_of(kind), text)


def _convert_union(text: str, kinds: tuple[Any, ...]) -> Any:
    if text.lower() == "none" and type(None) in kinds:
        return None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _convert(text, kind)
            except ValueError:
                continue
    raise ValueError(text)


def _axis_of(kind: Any) -> str:
    """The axis whose things are of that class."""
    names = {base.__name__ for base in getattr(kind, "__mro__", ())}
    for axis in ("sampler", "grid", "schedule", "model"):
        if axis.capitalize() in names:
            return f"{axis}s"
    raise ValueError(str(kind))


def _split(text: str, mark: str, most: int = -1) -> list[str]:
    """Split at a mark outside quotes."""
    parts, quote, begin = [], "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == mark and most != 0:
            parts.append(text[begin:i])
            begin, most = i + 1, most - 1
    if quote:
        raise DifftoolError(f"{text!r} has a quote that is not closed")
    return [*parts, text[begin:]]


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text
